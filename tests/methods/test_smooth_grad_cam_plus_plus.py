"""Smooth Grad-CAM++ against its equations in loops with the same noise, by hand, and torch-cam, which is wrong."""

import pytest
import torch
from nets import Deep, captured, image, relative_error, seeded
from torch import Tensor, nn
from torch.testing import assert_close

import sightline
from sightline.methods.compose import over_noise

METHOD = sightline.methods.method("smooth-grad-cam++")


def drawn(samples: int, shape: tuple[int, ...] = (3, 6, 5)) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for _ in range(samples)]


def as_in_the_paper(activations: Tensor, noisy: list[Tensor]) -> Tensor:
    """The map of one image's activations (C, h, w) and its gradients at noisy images, in plain loops."""
    c_, h_, w_ = activations.shape
    out = torch.zeros(h_, w_, dtype=torch.float64)
    for c in range(c_):
        total, weight = sum(activations[c].flatten().tolist()), 0.0
        for y in range(h_):
            for x in range(w_):
                mean = [sum(g[c, y, x].item() ** power for g in noisy) / len(noisy) for power in (1, 2, 3)]
                below = 2 * mean[1] + total * mean[2]
                weight += (mean[1] / below if below else 0.0) * max(mean[0], 0.0)
        out += weight * activations[c]
    return out.clamp(min=0)


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e-25])
def test_equals_the_paper(scale: float) -> None:
    """Also in float32 where gradients are so small that their squares are none."""
    model, images, targets = seeded(Deep).double(), image(2, 6, 5, dtype=torch.float64), [2, 0]
    with torch.no_grad():
        model.head[2].weight.mul_(scale)
    score = lambda out: out[[0, 1], targets]  # noqa: E731
    activations, _ = captured(model, model.features, images, score)
    spread = 0.15 * (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))[:, None, None, None]
    noisy = [captured(model, model.features, images + spread * n.double(), score)[1] for n in drawn(5)]
    true = torch.stack([as_in_the_paper(activations[n], [g[n] for g in noisy]) for n in range(2)])
    assert true.any()
    method = METHOD.set(samples=5)
    assert_close(sightline.maps(model, images, targets, layer="features", method=method), true, rtol=1e-6, atol=0)
    found = sightline.maps(model.float(), images.float(), targets, layer="features", method=method)
    assert relative_error(found.double() / scale, true / scale) < 1e-4


def test_by_hand() -> None:
    """score = red^3 / 3 at one cell: with noise e the gradient is (1 + e)^2, and A is 1."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv2d(3, 1, 1, bias=False)
            with torch.no_grad():
                self.features.weight.copy_(torch.tensor([1.0, 0, 0])[None, :, None, None])

        def forward(self, images: Tensor) -> Tensor:
            return (self.features(images)[..., :1] ** 3 / 3).sum((2, 3))

    images = torch.zeros(1, 3, 1, 2, dtype=torch.float64)
    images[0, 0, 0, 0] = 1
    slopes = [(1 + 0.5 * float(noise[0, 0, 0])) ** 2 for noise in drawn(3, (3, 1, 2))]
    m1, m2, m3 = (sum(g**p for g in slopes) / 3 for p in (1, 2, 3))
    found = sightline.maps(Net().double(), images, 0, layer="features", method=METHOD.set(samples=3, noise=0.5))
    assert_close(found, torch.tensor([[[m2 / (2 * m2 + m3) * m1, 0]]], dtype=torch.float64))


def test_without_noise_is_grad_cam_plus_plus() -> None:
    model, images = seeded(Deep), image(2)
    plain = sightline.maps(model, images, 1, layer="features", method="grad-cam++")
    assert plain.any()
    found = sightline.maps(model, images, 1, layer="features", method=METHOD.set(samples=2, noise=0.0))
    assert_close(found, plain)


def test_is_not_the_mean_of_maps() -> None:
    """What is averaged are derivatives; `over_noise` averages maps."""
    model, images = seeded(Deep), image(2)
    found = sightline.maps(model, images, 1, layer="features", method="smooth-grad-cam++")
    of_maps = sightline.maps(
        model, images, 1, layer="features", method=over_noise(sightline.methods.method("grad-cam++"))
    )
    assert relative_error(of_maps, found) > 0.05


def test_dead_gradients_give_zeros() -> None:
    model, images = seeded(Deep), image(2)
    with torch.no_grad():
        model.head[2].weight.zero_()
    assert not sightline.maps(model, images, 1, layer="features", method="smooth-grad-cam++").any()


def test_torchcam_takes_the_last_noisy_image_for_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """First derivative and activations are the last sample's; and it sums g^3 A where the equation has g^3 sum A."""
    methods = pytest.importorskip("torchcam.methods", reason="torchcam isn't installed")
    model, images = seeded(Deep), image(1, 6, 5)
    model.requires_grad_()
    spread = float(0.15 * (images.max() - images.min()))
    noise = drawn(4)
    with methods.SmoothGradCAMpp(model, "features", num_samples=4, std=spread, input_shape=(3, 6, 5)) as peer:
        draws = iter(noise)
        monkeypatch.setattr(type(peer._distrib), "sample", lambda *_: spread * next(draws)[None])
        model(images)
        theirs = peer(1, normalized=False)[0]
    score = lambda out: out[:, 1]  # noqa: E731
    taken = [captured(model, model.features, images + spread * n, score) for n in noise]
    activations = captured(model, model.features, images, score)[0]
    g2, g3 = (sum(g**power for _, g in taken) / 4 for power in (2, 3))
    last, gradient = taken[-1]
    weights = (g2 / (2 * g2 + (g3 * activations).sum((2, 3), keepdim=True) + 1e-8) * gradient.relu()).sum((2, 3))
    assert_close(theirs, torch.einsum("nc,nchw->nhw", weights, last).relu(), rtol=1e-4, atol=1e-5)
    ours = sightline.maps(model, images, 1, layer="features", method=METHOD.set(samples=4))
    assert relative_error(theirs, ours) > 0.1
