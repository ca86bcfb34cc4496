"""IS-CAM against its average written as loops, against a case solved by hand, and against torch-cam."""

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

FEW = method("is-cam").set(steps=3)


@torch.no_grad()
def by_loops(
    model: nn.Module, layer: str, images: Tensor, targets: list[list[int]], intensities: list[float]
) -> Tensor:
    """Weights by the mean increase of the score over masks of several intensities."""
    activations, rows = features(model, layer, images), []
    for picture, planes, asked in zip(images, activations, targets):
        for target in asked:
            black = model(torch.zeros_like(picture)[None])[0, target].item()
            increases = []
            for plane in planes:
                whole, total = mask(plane, *picture.shape[1:]), 0.0
                for intensity in intensities:
                    total += model((intensity * whole * picture)[None])[0, target].item() - black
                increases.append(total / len(intensities))
            rows.append(combined(planes, softmax(increases)))
    return torch.stack(rows).view(len(images), -1, *activations.shape[2:])


@pytest.mark.parametrize("layer", ["relu", "conv"])
def test_equals_the_mean_over_intensities(layer: str) -> None:
    model, images, targets = seeded(coarse), pictures(), [[0, 3], [2, 1]]
    found = sightline.maps(model, images, targets, layer=layer, method=FEW)
    assert_close(found, by_loops(model, layer, images, targets, [1 / 3, 2 / 3, 1]), rtol=1e-9, atol=1e-12)


def test_by_hand() -> None:
    """The score is linear in the image: over 1/3, 2/3 and 1 its mean is 2/3 ln 27 = ln 9, or ln 1: weights 9, 1, 9."""
    picture = torch.tensor([[[1, 0], [0, 0]], [[0, 1], [2, 0]], [[math.log(27), 0], [0, 0]]]).double()[None]
    found = sightline.maps(Third(), picture, 0, layer="features", method=FEW)
    assert_close(found, torch.tensor([[[9 + 9 * math.log(27), 1], [2, 0]]]).double() / 19)


def test_of_one_step_it_is_score_cam() -> None:
    model, images = seeded(coarse), pictures()
    found = sightline.maps(model, images, [1, 2], layer="relu", method=method("is-cam").set(steps=1))
    assert_close(found, sightline.maps(model, images, [1, 2], layer="relu", method="score-cam"))


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


def test_refuses_no_steps() -> None:
    with pytest.raises(MethodError, match="at least 1 step, got steps=0"):
        sightline.maps(seeded(coarse), pictures(), 0, layer="relu", method=method("is-cam").set(steps=0))


def test_torch_cam_agrees_for_one_step_and_adds_the_intensities_up_for_more() -> None:
    """Of 3 steps it takes 1/3, 1/3 + 2/3 and 1/3 + 2/3 + 1: twice the image, which no mask lets through."""
    model, images, targets = seeded(Pooled).double(), 20 * pictures(), [1, 3]
    once = sightline.maps(model, images, targets, layer="features", method=method("is-cam").set(steps=1))
    assert relative_error(torchcam("ISCAM", model, "features", images, targets, num_samples=1), once) < 1e-6
    theirs = torchcam("ISCAM", model, "features", images, targets, num_samples=3)
    added_up = by_loops(model, "features", images, [[1], [3]], [1 / 3, 1, 2])[:, 0]
    assert relative_error(theirs, added_up) < 1e-6
    assert relative_error(theirs, sightline.maps(model, images, targets, layer="features", method=FEW)) > 0.05
