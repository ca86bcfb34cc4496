"""VarGrad against plain loops with the same noise, a quadratic score solved by hand, and captum."""

import pytest
import torch
from nets import Pooled, image, seeded
from torch import Tensor, nn
from torch.testing import assert_close

import sightline
from sightline.errors import MethodError

METHOD = sightline.methods.method("var-grad")


def net() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(48, 3))).double()


def gradients(model: nn.Module, images: Tensor, targets: list[int]) -> Tensor:
    leaf = images.clone().requires_grad_()
    return torch.autograd.grad(model(leaf)[range(len(images)), targets].sum(), leaf)[0]


def drawn(samples: int, shape: tuple[int, ...] = (3, 5, 6)) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for _ in range(samples)]


def test_equals_the_definition() -> None:
    """The mean square of what noise adds to the mean gradient, in plain loops."""
    model, images, targets = net(), image(2, 5, 6, dtype=torch.float64), [2, 0]
    found = sightline.maps(model, images, targets, method=METHOD.set(samples=5))
    for n in range(2):
        values = images[n].flatten().tolist()
        spread = 0.15 * (max(values) - min(values))
        each = [
            gradients(model, images[n : n + 1] + spread * noise.double(), targets[n : n + 1])[0] for noise in drawn(5)
        ]
        for y in range(5):
            for x in range(6):
                variances = []
                for c in range(3):
                    seen = [one[c, y, x].item() for one in each]
                    mean = sum(seen) / 5
                    variances.append(sum((value - mean) ** 2 for value in seen) / 5)
                assert_close(found[n, y, x].item(), max(variances))


def test_by_hand() -> None:
    """score = red^2 / 2: the gradient varies as the noise does, by half the range of 3."""
    images = torch.tensor([[[[1.0, 3]], [[0, 0]], [[0, 0]]]], dtype=torch.float64)
    asked = lambda out: (out[:, 0] ** 2).sum((1, 2)) / 2  # noqa: E731
    found = sightline.maps(nn.Identity(), images, asked, method=METHOD.set(samples=4, noise=0.5))
    assert_close(found[0], 1.5**2 * torch.stack(drawn(4, (3, 1, 2))).double().var(0, correction=0)[0])


def test_is_0_where_the_score_is_linear() -> None:
    linear = seeded(lambda: nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(24, 2))).double()
    found = sightline.maps(linear, image(2, 5, 6, dtype=torch.float64), 0, method="var-grad")
    assert_close(found, torch.zeros_like(found))


def test_a_large_mean_gradient_costs_no_digits() -> None:
    """A mean of squares less the square of the mean would be off by more than what is left."""
    asked = lambda out: 1e4 * out.sum((1, 2, 3)) + (out**2).sum((1, 2, 3)) / 2  # noqa: E731
    images = image(1, 3, 4)
    found = sightline.maps(nn.Identity(), images, asked, method="var-grad")
    true = sightline.maps(nn.Identity(), images.double(), asked, method="var-grad")
    assert_close(found.double(), true, rtol=5e-3, atol=0)


def test_one_sample_is_refused() -> None:
    with pytest.raises(MethodError, match="two samples.*samples=1"):
        sightline.maps(net(), image(1, 5, 6, dtype=torch.float64), 0, method=METHOD.set(samples=1))


def test_equals_captum_given_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    attr = pytest.importorskip("captum.attr", reason="captum isn't installed")
    model, images = seeded(Pooled).double(), image(1, 5, 6, dtype=torch.float64)
    noise = torch.stack(drawn(6)).double()
    monkeypatch.setattr(torch, "normal", lambda mean, std: mean + std * noise)
    tunnel = attr.NoiseTunnel(attr.Saliency(model))
    spread = float(0.15 * (images.max() - images.min()))
    theirs = tunnel.attribute(
        images.clone().requires_grad_(), nt_type="vargrad", nt_samples=6, stdevs=spread, target=2, abs=False
    )
    ours = sightline.maps(model, images, 2, method=METHOD.set(samples=6))
    assert_close(ours, theirs.amax(1).detach(), rtol=1e-6, atol=1e-12)
