"""Recipro-CAM against its masks written as loops, and against cases solved by hand."""

import pytest
import torch
from nets import Pooled, seeded
from test_ablation_cam import Weighed
from test_score_cam import coarse, features, pictures
from torch import Tensor, nn
from torch.testing import assert_close

import sightline
from sightline.methods import method

ALONE = method("recipro-cam").set(gaussian=False)


@torch.no_grad()
def as_in_the_paper(
    model: nn.Module, layer: str, images: Tensor, targets: list[list[int]], *, gaussian: bool
) -> Tensor:
    """The score with a mask on the layer, cell by cell, the whole model running; less the least."""
    activations, rows = features(model, layer, images), []
    height, width = activations.shape[2:]
    for picture, asked in zip(images, targets):
        for target in asked:
            scores = torch.zeros(height, width, dtype=images.dtype)
            for y in range(height):
                for x in range(width):
                    mask = torch.zeros(height, width, dtype=images.dtype)
                    for v in range(height):
                        for u in range(width):
                            far = max(abs(v - y), abs(u - x))
                            near = 0.5 ** (2 + abs(v - y) + abs(u - x)) if far <= 1 else 0.0
                            mask[v, u] = near if gaussian else float(far == 0)
                    scores[y, x] = masked(model, layer, picture, mask)[target]
            rows.append(scores - scores.min())
    return torch.stack(rows).view(len(images), -1, height, width)


def masked(model: nn.Module, layer: str, picture: Tensor, mask: Tensor) -> Tensor:
    handle = model.get_submodule(layer).register_forward_hook(lambda module, inputs, output: output * mask)
    try:
        return model(picture[None])[0]
    finally:
        handle.remove()


@pytest.mark.parametrize("gaussian", [True, False])
@pytest.mark.parametrize("layer", ["relu", "conv"])
def test_equals_the_paper(layer: str, gaussian: bool) -> None:
    model, images, targets = seeded(coarse), pictures(), [[0, 3], [2, 1]]
    found = sightline.maps(model, images, targets, layer=layer, method=method("recipro-cam").set(gaussian=gaussian))
    assert_close(found, as_in_the_paper(model, layer, images, targets, gaussian=gaussian), rtol=1e-9, atol=1e-12)


PICTURE = torch.tensor([[[16, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 8]], [[0, 0, 0], [0, 0, 0]]]).double()[None]


def test_by_hand() -> None:
    """Two cells score 16 and -8 alone; around each, a Gaussian of 1/4, 1/8 and 1/16; 2 less is the least."""
    found = sightline.maps(Weighed([1, -1, 0]), PICTURE, 0, layer="features", method="recipro-cam")
    raw = torch.tensor([[4, 2 - 0.5, -1], [2, 1 - 1, -2]]).double()
    assert_close(found, (raw + 2)[None])


def test_by_hand_one_cell_alone() -> None:
    found = sightline.maps(Weighed([1, -1, 0]), PICTURE, 0, layer="features", method=ALONE)
    assert_close(found, torch.tensor([[[24, 8, 8], [8, 8, 0]]]).double())


def test_on_a_linear_head_one_cell_alone_is_cam_less_its_least_value() -> None:
    """CAM sums gradients over positions where a cell has one of them: it is as many times larger."""
    model, images = seeded(Pooled).double(), pictures()
    cam = sightline.maps(model, images, [1, 2], layer="features", method="cam") / (9 * 12)
    found = sightline.maps(model, images, [1, 2], layer="features", method=ALONE)
    assert_close(found, cam - cam.amin((1, 2), keepdim=True), rtol=1e-9, atol=1e-12)


def test_a_dead_layer_gives_zeros() -> None:
    model = seeded(coarse)
    nn.init.constant_(model.conv.weight, 0)
    nn.init.constant_(model.conv.bias, -1)
    found = sightline.maps(model, pictures(), 1, layer="relu", method="recipro-cam")
    assert torch.equal(found, torch.zeros(2, 5, 6).double())


def test_a_batch_is_its_images() -> None:
    model, images = seeded(coarse), pictures(3)
    found = sightline.maps(model, images, [0, 1, 2], layer="relu", method="recipro-cam")
    for i in range(3):
        alone = sightline.maps(model, images[i : i + 1], i, layer="relu", method="recipro-cam")
        assert_close(found[i : i + 1], alone, rtol=1e-9, atol=1e-12)
