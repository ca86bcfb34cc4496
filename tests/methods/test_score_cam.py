"""Score-CAM against algorithm 1 written as loops, against cases solved by hand, and against its peers."""

import math
import warnings
from collections import OrderedDict
from typing import Any

import pytest
import torch
from nets import Pooled, captured, image, relative_error, seeded
from torch import Tensor, nn
from torch.testing import assert_close

import sightline


def coarse(channels: int = 9, stride: int = 2) -> nn.Module:
    """A net whose layers `conv` (signed) and `relu` are coarser than the image; its head isn't linear."""
    parts = OrderedDict(
        conv=nn.Conv2d(3, channels, 3, stride=stride, padding=1), relu=nn.ReLU(),
        mix=nn.Conv2d(channels, 5, 3), tanh=nn.Tanh(), pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(),
        head=nn.Linear(5, 4),
    )  # fmt: skip
    return nn.Sequential(parts).double()


def pictures(n: int = 2) -> Tensor:
    return image(n, 9, 12, seed=3, dtype=torch.float64)


def features(model: nn.Module, layer: str, images: Tensor) -> Tensor:
    return captured(model, model.get_submodule(layer), images, lambda out: out[:, 0])[0]


def upsampled(plane: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, the cells tiling the image evenly, pixel by pixel."""
    out = torch.zeros(height, width, dtype=plane.dtype)
    for y in range(height):
        for x in range(width):
            v = min(max((y + 0.5) * plane.shape[0] / height - 0.5, 0), plane.shape[0] - 1)
            u = min(max((x + 0.5) * plane.shape[1] / width - 0.5, 0), plane.shape[1] - 1)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, plane.shape[0] - 1), min(left + 1, plane.shape[1] - 1)
            upper = plane[top, left] * (left + 1 - u) + plane[top, right] * (u - left)
            lower = plane[bottom, left] * (left + 1 - u) + plane[bottom, right] * (u - left)
            out[y, x] = upper * (top + 1 - v) + lower * (v - top)
    return out


def mask(plane: Tensor, height: int, width: int) -> Tensor:
    """A channel at the image's size, between 0 and 1."""
    large = upsampled(plane, height, width)
    return (large - large.min()) / (large.max() - large.min())


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


def combined(activations: Tensor, weights: list[float]) -> Tensor:
    """relu(sum_k w_k A_k) of activations (C, h, w)."""
    total = torch.zeros_like(activations[0])
    for plane, weight in zip(activations, weights):
        total += weight * plane
    return total.clamp(min=0)


@torch.no_grad()
def as_in_the_paper(model: nn.Module, layer: str, images: Tensor, targets: list[list[int]]) -> Tensor:
    """Algorithm 1, with X_b = 0."""
    activations, rows = features(model, layer, images), []
    for picture, planes, asked in zip(images, activations, targets):
        for target in asked:
            black = model(torch.zeros_like(picture)[None])[0, target].item()
            increases = [
                model((mask(plane, *picture.shape[1:]) * picture)[None])[0, target].item() - black for plane in planes
            ]
            rows.append(combined(planes, softmax(increases)))
    return torch.stack(rows).view(len(images), -1, *activations.shape[2:])


@pytest.mark.parametrize("layer", ["relu", "conv"])
def test_equals_the_paper(layer: str) -> None:
    model, images, targets = seeded(coarse), pictures(), [[0, 3], [2, 1]]
    found = sightline.maps(model, images, targets, layer=layer, method="score-cam")
    assert_close(found, as_in_the_paper(model, layer, images, targets), rtol=1e-9, atol=1e-12)


class Third(nn.Module):
    """A net whose three features are the image's channels, scored by what the third sums to."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images)[:, 2:].sum((2, 3))


def test_by_hand() -> None:
    """Seen through the first and third channel the score is ln 3, through the second ln 1: weights 3, 1 and 3 of 7."""
    picture = torch.tensor([[[1, 0], [0, 0]], [[0, 1], [2, 0]], [[math.log(3), 0], [0, 0]]]).double()[None]
    found = sightline.maps(Third(), picture, 0, layer="features", method="score-cam")
    assert_close(found, torch.tensor([[[3 + 3 * math.log(3), 1], [2, 0]]]).double() / 7)


def test_an_even_channel_scores_as_the_black_image() -> None:
    """Its score is 0, the third's is ln 2: weights 1, 1 and 2 of 4."""
    picture = torch.tensor([[[5, 5], [5, 5]], [[0, 0], [0, 0]], [[math.log(2), 0], [0, 0]]]).double()[None]
    found = sightline.maps(Third(), picture, 0, layer="features", method="score-cam")
    assert_close(found, torch.tensor([[[5 + 2 * math.log(2), 5], [5, 5]]]).double() / 4)


def test_a_dead_layer_gives_zeros() -> None:
    model = seeded(coarse)
    nn.init.constant_(model.conv.weight, 0)
    nn.init.constant_(model.conv.bias, -1)
    assert torch.equal(
        sightline.maps(model, pictures(), 1, layer="relu", method="score-cam"), torch.zeros(2, 5, 6).double()
    )


def test_a_batch_is_its_images_and_many_channels_are_asked_in_parts() -> None:
    model, images = seeded(lambda: coarse(37)), pictures(3)
    found = sightline.maps(model, images, [0, 1, 2], layer="relu", method="score-cam")
    for i in range(3):
        alone = sightline.maps(model, images[i : i + 1], i, layer="relu", method="score-cam")
        assert_close(found[i : i + 1], alone, rtol=1e-10, atol=1e-12)


# The peers. A layer of the image's own size spares them the upsampling.


def torchcam(name: str, model: nn.Module, layer: str, images: Tensor, targets: list[int], **options: Any) -> Tensor:
    """torch-cam's raw maps."""
    methods = pytest.importorskip("torchcam.methods", reason="torch-cam isn't installed")
    with getattr(methods, name)(model, layer, **options) as extractor:
        scores = model(images)
        return extractor(targets, scores, normalized=False)[0].detach()


def pytorch_grad_cam(name: str, model: nn.Module, layer: str, images: Tensor, targets: list[int]) -> Tensor:
    """pytorch-grad-cam's maps, which are between 0 and 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = pytest.importorskip("pytorch_grad_cam", reason="pytorch-grad-cam isn't installed")
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        with getattr(peer, name)(model, [model.get_submodule(layer)]) as cam:
            return torch.from_numpy(cam(images, [ClassifierOutputTarget(target) for target in targets]))


def scaled(maps: Tensor, images: Tensor) -> Tensor:
    """Maps as pytorch-grad-cam gives them: between 0 and 1, at the image's size, and between 0 and 1 again."""
    from pytorch_grad_cam.utils.image import scale_cam_image

    size = (images.shape[-1], images.shape[-2])
    return torch.from_numpy(scale_cam_image(scale_cam_image(maps.clamp(min=0).float().numpy(), size)))


def test_equals_torch_cam_and_pytorch_grad_cam_where_nothing_is_upsampled() -> None:
    model, images, targets = seeded(Pooled).double(), pictures(), [1, 3]
    found = sightline.maps(model, images, targets, layer="features", method="score-cam")
    assert relative_error(torchcam("ScoreCAM", model, "features", images, targets), found) < 1e-6  # its epsilon
    theirs = pytorch_grad_cam("ScoreCAM", model.float(), "features", images.float(), targets)
    assert_close(theirs, scaled(found, images), rtol=0, atol=1e-5)


def test_the_peers_masks_are_wrong_where_they_are_upsampled() -> None:
    """torch-cam normalises before it upsamples, so that masks needn't reach 1; pytorch-grad-cam aligns corners."""
    model, images, targets = seeded(lambda: coarse(stride=4)), 6 * pictures(), [1, 3]
    true = as_in_the_paper(model, "relu", images, [[1], [3]])[:, 0]
    found = sightline.maps(model, images, targets, layer="relu", method="score-cam")
    assert relative_error(found, true) < 1e-9
    assert relative_error(torchcam("ScoreCAM", model, "relu", images, targets), true) > 1e-3
    theirs = pytorch_grad_cam("ScoreCAM", model.float(), "relu", images.float(), targets)
    assert float((theirs - scaled(true, images)).abs().max()) > 1e-3
