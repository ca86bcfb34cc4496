"""SmoothGrad against plain loops with the same noise, a quadratic score solved by hand, and captum."""

import pytest
import torch
from nets import Pooled, image, seeded
from torch import Tensor, nn
from torch.testing import assert_close

import sightline
from sightline.asking import Asking, Session
from sightline.errors import MethodError
from sightline.methods.smooth_grad import noisy
from sightline.targets import Labels, question

METHOD = sightline.methods.method("smooth-grad")


def net() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))).double()


def gradients(model: nn.Module, images: Tensor, targets: list[int]) -> Tensor:
    leaf = images.clone().requires_grad_()
    return torch.autograd.grad(model(leaf)[range(len(images)), targets].sum(), leaf)[0]


def drawn(samples: int, shape: tuple[int, ...] = (3, 5, 6), seed: int = 0) -> list[Tensor]:
    """The noise that a seed gives: one image's at a time, in float32."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(samples)]


def test_equals_the_paper() -> None:
    """The mean over noise of the gradient, in plain loops; noise of 15 % of each image's own range."""
    model, images, targets = net(), image(2, 5, 6, dtype=torch.float64), [2, 0]
    images[1] *= 10
    found = sightline.maps(model, images, targets, method=METHOD.set(samples=5))
    for n in range(2):
        values = images[n].flatten().tolist()
        spread = 0.15 * (max(values) - min(values))
        total = torch.zeros(3, 5, 6, dtype=torch.float64)
        for noise in drawn(5):
            total += gradients(model, images[n : n + 1] + spread * noise.double(), targets[n : n + 1])[0]
        for y in range(5):
            for x in range(6):
                assert_close(found[n, y, x].item(), max(abs(total[c, y, x].item()) / 5 for c in range(3)))


def test_by_hand() -> None:
    """score = red^2 / 2: the gradient is red and the noise, whose mean is added."""
    images = torch.tensor([[[[1.0, 3]], [[0, 0]], [[0, 0]]]], dtype=torch.float64)
    asked = lambda out: (out[:, 0] ** 2).sum((1, 2)) / 2  # noqa: E731
    found = sightline.maps(nn.Identity(), images, asked, method=METHOD.set(samples=4, noise=0.5), seed=7)
    mean = torch.stack(drawn(4, (3, 1, 2), 7)).double().mean(0)[0]
    assert_close(found[0], (images[0, 0] + 0.5 * 3 * mean).abs())


def test_without_noise_or_of_an_even_image_is_saliency() -> None:
    model, images = net(), image(2, 5, 6, dtype=torch.float64)
    plain = sightline.maps(model, images, 1, method="saliency")
    assert_close(sightline.maps(model, images, 1, method=METHOD.set(samples=3, noise=0.0)), plain)
    even = torch.full((1, 3, 5, 6), 0.5, dtype=torch.float64)
    assert_close(
        sightline.maps(model, even, 1, method="smooth-grad"), sightline.maps(model, even, 1, method="saliency")
    )


def test_opposite_gradients_cancel_where_saliency_is_blind_to_it() -> None:
    """A score that zigzags below the noise's size: the sign is averaged, not the size."""
    images = torch.tensor([[[[0.0, 1]], [[0, 0]], [[0, 0]]]], dtype=torch.float64)
    asked = lambda out: (300 * out[:, 0]).sin().sum((1, 2))  # noqa: E731
    found = sightline.maps(nn.Identity(), images, asked, method=METHOD.set(samples=400))
    assert found.max() < 0.15 * sightline.maps(nn.Identity(), images, asked, method="saliency").max()


def test_noise_is_the_same_for_every_dtype_batch_and_count() -> None:
    images = image(2, 4, 4, dtype=torch.float64)

    def about(given: Tensor) -> Asking:
        return Asking(
            Session(nn.Identity(), given, question(lambda out: out.sum((1, 2, 3)), Labels(()), len(given))), None
        )

    runs = [
        list(noisy(about(given), torch.Generator().manual_seed(3), samples, 0.2))
        for given, samples in ((images, 4), (images[1:], 4), (images.float(), 4), (images, 2))
    ]
    for s, whole in enumerate(runs[0]):
        assert torch.equal(runs[1][s], whole[1:])
        assert_close(runs[2][s].double(), whole, rtol=1e-5, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(runs[0], runs[3]))
    assert not torch.equal(runs[0][0] - images, runs[0][1] - images)


def test_seeds_repeat_and_differ() -> None:
    model, images = net(), image(2, 5, 6, dtype=torch.float64)
    first, again, other = (sightline.maps(model, images, 1, method=METHOD, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("options", [{"samples": 0}, {"noise": -0.1}, {"noise": float("nan")}])
def test_what_is_no_noise_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(MethodError, match="noise is drawn at least once"):
        sightline.maps(net(), image(1, 5, 6, dtype=torch.float64), 0, method=METHOD.set(**options))


def test_equals_captum_given_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captum draws from torch.normal for repeated images, and knows no range: both are put in its hands."""
    attr = pytest.importorskip("captum.attr", reason="captum isn't installed")
    model, images = seeded(Pooled).double(), image(1, 5, 6, dtype=torch.float64)
    noise = torch.stack(drawn(6)).double()
    monkeypatch.setattr(torch, "normal", lambda mean, std: mean + std * noise)
    tunnel = attr.NoiseTunnel(attr.Saliency(model))
    spread = float(0.15 * (images.max() - images.min()))
    theirs = tunnel.attribute(
        images.clone().requires_grad_(), nt_type="smoothgrad", nt_samples=6, stdevs=spread, target=2, abs=False
    )
    ours = sightline.maps(model, images, 2, method=METHOD.set(samples=6))
    assert_close(ours, theirs.abs().amax(1).detach())
