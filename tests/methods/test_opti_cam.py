"""Opti-CAM against its climb written with autograd and Adam by hand, and against cases solved by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from nets import seeded
from test_score_cam import Third, coarse, features, pictures, upsampled
from torch import Tensor, nn
from torch.testing import assert_close

import sightline
from sightline.errors import MethodError
from sightline.methods import method

SHORT = method("opti-cam").set(steps=7)


def as_in_the_paper(
    model: nn.Module, layer: str, images: Tensor, targets: list[list[int]], steps: int, rate: float
) -> Tensor:
    """Picture by picture, target by target; Adam as its paper has it (beta 0.9 and 0.999, epsilon 1e-8)."""
    activations, rows = features(model, layer, images).clamp(min=0), []
    for picture, planes, asked in zip(images, activations, targets):
        # the bilinear upsampling is linear: the mix of upsampled channels is the upsampled mix
        large = torch.stack([upsampled(plane, *picture.shape[1:]) for plane in planes])
        for target in asked:
            u = torch.zeros(len(planes), dtype=images.dtype)
            mean, spread = torch.zeros_like(u), torch.zeros_like(u)
            for step in range(1, steps + 1):
                u.requires_grad_()
                mix = torch.einsum("c,chw->hw", u.softmax(0), large)
                mask = (mix - mix.min()) / (mix.max() - mix.min())
                (slope,) = torch.autograd.grad(-model((picture * mask)[None])[0, target], u)
                mean, spread = 0.9 * mean + 0.1 * slope, 0.999 * spread + 0.001 * slope**2
                u = u.detach() - rate * (mean / (1 - 0.9**step)) / ((spread / (1 - 0.999**step)).sqrt() + 1e-8)
            rows.append(torch.einsum("c,chw->hw", u.softmax(0), planes))
    return torch.stack(rows).view(len(images), -1, *activations.shape[2:])


@pytest.mark.parametrize("layer", ["relu", "conv"])
def test_equals_the_paper(layer: str) -> None:
    model, images, targets = seeded(coarse), pictures(), [[0, 3], [2, 1]]
    found = sightline.maps(model, images, targets, layer=layer, method=SHORT)
    assert_close(found, as_in_the_paper(model, layer, images, targets, 7, 0.1), rtol=1e-6, atol=1e-9)


def test_the_first_step_by_hand() -> None:
    """Adam's first step is the rate times the slope's sign, whatever its size.

    The score is the third channel (1, 0, 0, 0) seen through the mask. The mix starts as a third of
    (3, 6, 0, 0), so the mask there is 1/2; more of the first channel (2, 0, 0, 0) or the third raises
    it, more of the second (0, 6, 0, 0) lowers it.
    """
    picture = torch.tensor([[[2, 0], [0, 0]], [[0, 6], [0, 0]], [[1, 0], [0, 0]]]).double()[None]
    one = method("opti-cam").set(steps=1, rate=math.log(2))
    found = sightline.maps(Third(), picture, 0, layer="features", method=one)
    up, down = 2 / 4.5, 0.5 / 4.5  # u = ln 2, -ln 2, ln 2
    assert_close(found, torch.tensor([[[3 * up, 6 * down], [0, 0]]]).double())


def test_without_a_step_it_is_the_mean_of_the_features_positive_parts() -> None:
    model, images = seeded(coarse), pictures()
    found = sightline.maps(model, images, 0, layer="conv", method=method("opti-cam").set(steps=0))
    assert_close(found, features(model, "conv", images).relu().mean(1))


@torch.no_grad()
def test_the_climb_raises_the_score_seen_through_the_map() -> None:
    model, images = seeded(coarse), pictures()
    seen = []
    for steps in (0, 50):
        maps = sightline.maps(model, images, 2, layer="relu", method=method("opti-cam").set(steps=steps))
        large = F.interpolate(maps[:, None], images.shape[2:], mode="bilinear")
        low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
        seen.append(model(images * (large - low) / (high - low))[:, 2])
    assert (seen[1] > seen[0] + 1e-3).all()


def test_a_dead_layer_gives_zeros() -> None:
    model = seeded(coarse)
    nn.init.constant_(model.conv.weight, 0)
    nn.init.constant_(model.conv.bias, -1)
    assert torch.equal(sightline.maps(model, pictures(), 1, layer="relu", method=SHORT), torch.zeros(2, 5, 6).double())


def test_a_batch_is_its_images() -> None:
    model, images = seeded(coarse), pictures(3)
    found = sightline.maps(model, images, [0, 1, 2], layer="relu", method=SHORT)
    for i in range(3):
        alone = sightline.maps(model, images[i : i + 1], i, layer="relu", method=SHORT)
        assert_close(found[i : i + 1], alone, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("options", [{"steps": -1}, {"rate": 0.0}])
def test_refuses_steps_that_go_nowhere(options: dict[str, float]) -> None:
    with pytest.raises(MethodError, match="a rate above 0"):
        sightline.maps(seeded(coarse), pictures(), 0, layer="relu", method=method("opti-cam").set(**options))
