"""Guided Grad-CAM against its product in loops, with its own bilinear weights, and captum."""

import warnings

import pytest
import torch
from nets import Pooled, captured, grad_cam_of, image, roughened, seeded
from test_guided_backprop import Guided, Styled, derived, modular
from torch import Tensor, nn
from torch.testing import assert_close

import sightline


def bilinear(cells: list[list[float]], height: int, width: int) -> list[list[float]]:
    """Cells that tile the image evenly, read at each pixel's centre; what lies outside is the nearest cell's."""

    def weights(pixels: int, count: int) -> list[list[tuple[int, float]]]:
        found = []
        for i in range(pixels):
            place = min(max((i + 0.5) * count / pixels - 0.5, 0), count - 1)
            left = min(int(place), max(count - 2, 0))
            found.append([(left, 1 - (place - left)), (min(left + 1, count - 1), place - left)])
        return found

    rows, columns = weights(height, len(cells)), weights(width, len(cells[0]))
    return [[sum(a * b * cells[i][j] for i, a in row for j, b in column) for column in columns] for row in rows]


class Strided(Styled):
    """The net of the ReLU tests, with a layer `features` of half the resolution."""

    def __init__(self, style: str) -> None:
        super().__init__(style)
        self.features = nn.MaxPool2d(2)

    def forward(self, images: Tensor) -> Tensor:
        early = self.features(self.style(self, self.first(images)))
        return self.head(self.style(self, self.second(early)).mean((2, 3)))


def test_equals_the_paper() -> None:
    """Section 3.2: guided backprop times the upsampled Grad-CAM map, pixel by pixel."""
    model, images, targets = seeded(lambda: Strided("function")).double(), image(2, 8, 6, dtype=torch.float64), [2, 0]
    guided = derived(model, images, targets, Guided, 2)
    coarse = grad_cam_of(*captured(model, model.features, images, lambda out: out[[0, 1], targets]))
    found = sightline.maps(model, images, targets, layer="features", method="guided-grad-cam")
    assert coarse.shape[-2:] == (4, 3)
    assert coarse.any()
    for n in range(2):
        cam = bilinear(coarse[n].tolist(), 8, 6)
        for y in range(8):
            for x in range(6):
                true = max(abs(guided[n, c, y, x].item() * cam[y][x]) for c in range(3))
                assert_close(found[n, y, x].item(), true, rtol=1e-6, atol=1e-12)


def test_by_hand() -> None:
    """A map of 1 over the left half and 0 over the right, where guided backprop is 3 throughout."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.AvgPool2d(2)

        def forward(self, images: Tensor) -> Tensor:
            return (3 * self.pool(images)[:, :1].relu()).sum((2, 3)) / 2

    images = torch.zeros(1, 3, 2, 4)
    images[0, 0, :, :2] = 1
    images[0, 0, :, 2:] = -1  # where the ReLU lets nothing back
    found = sightline.maps(Net(), images, 0, layer="pool", method="guided-grad-cam")
    # Gradients at the cells are 3/2 and 0, Grad-CAM 3/4 (1, -1) cut to (3/4, 0); guided backprop 3/8 left, 0 right.
    assert_close(found, 3 / 8 * 3 / 4 * torch.tensor([[[1, 0.75, 0, 0]]]).expand(1, 2, 4))


def test_is_0_where_grad_cam_is() -> None:
    model, images = seeded(Pooled), image(2)
    coarse = sightline.maps(model, images, 1, layer="features")
    found = sightline.maps(model, images, 1, layer="features", method="guided-grad-cam")
    assert_close(found, coarse * sightline.maps(model, images, 1, method="guided-backprop"))
    assert (coarse == 0).any()
    assert (found > 0).any()


def test_equals_captum_with_bilinear_upsampling() -> None:
    attr = pytest.importorskip("captum.attr", reason="captum isn't installed")
    model, images = roughened(seeded(modular)).double(), image(2, 8, 8, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = attr.GuidedGradCam(model, model[3])
        theirs = peer.attribute(images.clone().requires_grad_(), [2, 0], interpolate_mode="bilinear")
        nearest = peer.attribute(images.clone().requires_grad_(), [2, 0])
    ours = sightline.maps(model, images, [2, 0], layer="3", method="guided-grad-cam")
    assert ours.any()
    assert_close(ours, theirs.abs().amax(1).detach())
    assert not torch.allclose(ours, nearest.abs().amax(1))  # captum's default, where the paper says bilinear
