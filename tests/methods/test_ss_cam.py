"""SS-CAM against its average written as loops, against a case solved by hand, and against torch-cam."""

import math

import pytest
import torch
from nets import Pooled, relative_error, seeded
from test_score_cam import Third, coarse, combined, features, mask, pictures, softmax, torchcam
from torch import Tensor, nn
from torch.testing import assert_close

import sightline
from sightline.errors import MethodError
from sightline.methods import method

FEW = method("ss-cam").set(samples=3, sigma=0.5)


def drawn(channels: int, samples: int, height: int, width: int, seed: int = 0) -> Tensor:
    """What the method draws: a plane for each sample of each channel, channel by channel."""
    generator = torch.Generator().manual_seed(seed)
    planes = [torch.randn(height, width, generator=generator) for _ in range(channels * samples)]
    return torch.stack(planes).view(channels, samples, height, width).double()


@torch.no_grad()
def as_in_the_paper(
    model: nn.Module, layer: str, images: Tensor, targets: list[list[int]], noise: Tensor, sigma: float
) -> Tensor:
    """Weights by the mean increase of the score over noisy masks; a picture's noise doesn't depend on the others."""
    activations, rows = features(model, layer, images), []
    for picture, planes, asked in zip(images, activations, targets):
        for target in asked:
            black = model(torch.zeros_like(picture)[None])[0, target].item()
            increases = []
            for plane, of_channel in zip(planes, noise):
                total = 0.0
                for one in of_channel:
                    noisy = mask(plane, *picture.shape[1:]) + sigma * one
                    total += model((noisy * picture)[None])[0, target].item() - black
                increases.append(total / len(of_channel))
            rows.append(combined(planes, softmax(increases)))
    return torch.stack(rows).view(len(images), -1, *activations.shape[2:])


@pytest.mark.parametrize("layer", ["relu", "conv"])
def test_equals_the_paper(layer: str) -> None:
    model, images, targets = seeded(lambda: coarse(7)), pictures(), [[0, 3], [2, 1]]
    found = sightline.maps(model, images, targets, layer=layer, method=FEW, seed=5)
    noise = drawn(7, 3, 9, 12, seed=5)
    assert_close(found, as_in_the_paper(model, layer, images, targets, noise, 0.5), rtol=1e-6, atol=1e-9)


def test_by_hand() -> None:
    """Noise e adds that much of ln 3 to a score that is linear: weights of 3^(1 + e), 3^e and 3^(1 + e)."""
    picture = torch.tensor([[[1, 0], [0, 0]], [[0, 1], [2, 0]], [[math.log(3), 0], [0, 0]]]).double()[None]
    one = method("ss-cam").set(samples=1, sigma=0.25)
    e = 0.25 * drawn(3, 1, 2, 2)[:, 0, 0, 0]
    powers = 3 ** (torch.tensor([1.0, 0, 1]).double() + e)
    first, second, third = (powers / powers.sum()).tolist()
    found = sightline.maps(Third(), picture, 0, layer="features", method=one)
    assert_close(found, torch.tensor([[[first + third * math.log(3), second], [2 * second, 0]]]).double())


def test_without_noise_it_is_score_cam() -> None:
    model, images = seeded(coarse), pictures()
    still = method("ss-cam").set(samples=2, sigma=0.0)
    found = sightline.maps(model, images, [1, 2], layer="relu", method=still)
    assert_close(found, sightline.maps(model, images, [1, 2], layer="relu", method="score-cam"))


def test_repeats_bit_for_bit_and_other_seeds_differ() -> None:
    model, images = seeded(coarse), pictures()
    first, again, other = (sightline.maps(model, images, 1, layer="relu", method=FEW, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_batch_is_its_images_whatever_the_parts() -> None:
    model, images = seeded(coarse), pictures(3)
    found = sightline.maps(model, images, [0, 1, 2], layer="relu", method=FEW)
    for i in range(3):
        alone = sightline.maps(model, images[i : i + 1], i, layer="relu", method=FEW)
        assert_close(found[i : i + 1], alone, rtol=1e-10, atol=1e-12)


def test_a_dead_layer_gives_zeros() -> None:
    model = seeded(coarse)
    nn.init.constant_(model.conv.weight, 0)
    nn.init.constant_(model.conv.bias, -1)
    assert torch.equal(sightline.maps(model, pictures(), 1, layer="relu", method=FEW), torch.zeros(2, 5, 6).double())


@pytest.mark.parametrize("options", [{"samples": 0}, {"sigma": -1.0}])
def test_refuses_no_samples_and_negative_noise(options: dict[str, float]) -> None:
    with pytest.raises(MethodError, match="at least 1 sample"):
        sightline.maps(seeded(coarse), pictures(), 0, layer="relu", method=method("ss-cam").set(**options))


class Given:
    """In place of torch-cam's distribution: sample after sample of the noise that was drawn here."""

    def __init__(self, noise: Tensor) -> None:
        self.left = iter(noise.unbind(1))

    def sample(self, size: torch.Size) -> Tensor:
        return next(self.left).expand(size)


def test_equals_torch_cam_under_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the image's own size, where torch-cam's masks need no upsampling (test_score_cam.py)."""
    methods = pytest.importorskip("torchcam.methods", reason="torch-cam isn't installed")
    model, images, targets = seeded(Pooled).double(), pictures(), [1, 3]
    noise = 0.5 * drawn(6, 3, 9, 12)
    monkeypatch.setattr(methods.activation.torch.distributions.normal, "Normal", lambda mean, std: Given(noise))
    theirs = torchcam("SSCAM", model, "features", images, targets, num_samples=3, std=0.5)
    found = sightline.maps(model, images, targets, layer="features", method=FEW)
    assert relative_error(theirs, found) < 1e-6  # its epsilon
