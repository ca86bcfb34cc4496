"""Fused LayerCAM against its equations in loops, by hand, and torch-cam."""

import math

import pytest
import torch
from nets import captured, image, seeded
from test_compose import Stages
from test_guided_grad_cam import bilinear
from torch import Tensor, nn
from torch.testing import assert_close

import sightline
from sightline.errors import MethodError

METHOD = sightline.methods.method("fused-layer-cam")
LAYERS = ("early", "middle", "late")


def layer_cams(model: nn.Module, images: Tensor, targets: list[int]) -> list[Tensor]:
    """LayerCAM maps (N, h, w) of every stage, without the engine."""
    found = []
    for layer in LAYERS:
        score = lambda out: out[range(len(images)), targets]  # noqa: E731
        activations, gradients = captured(model, model.get_submodule(layer), images, score)
        found.append((gradients.clamp(min=0) * activations).sum(1).clamp(min=0))
    return found


@pytest.mark.parametrize("gamma", [2.0, 0.5])
def test_equals_the_paper(gamma: float) -> None:
    """Eq. 9 on the first of three stages, and the largest of all, in plain loops."""
    model, images, targets = seeded(Stages).double(), image(2, 12, 8, dtype=torch.float64), [2, 0]
    true = torch.zeros(2, 12, 8, dtype=torch.float64)
    for stage, maps in enumerate(layer_cams(model, images, targets)):
        for n in range(2):
            most = max(maps[n].flatten().tolist())
            assert most > 0
            scaled = [[value / most for value in row] for row in maps[n].tolist()]
            if stage == 0:
                scaled = [[math.tanh(gamma * value) for value in row] for row in scaled]
            fine = bilinear(scaled, 12, 8)
            for y in range(12):
                for x in range(8):
                    true[n, y, x] = max(true[n, y, x].item(), fine[y][x])
    found = sightline.maps(model, images, targets, layer="late", method=METHOD.set(gamma=gamma))
    assert_close(found, true)


def test_of_two_resolutions_none_is_shallow() -> None:
    model, images = seeded(Stages), image(2)
    found = sightline.maps(model, images, 1, layer="early", method="fused-layer-cam")
    plain = sightline.maps(model, images, 1, layer="early", method="layer-cam")
    assert_close(found, plain / plain.amax((1, 2), keepdim=True))


def test_by_hand() -> None:
    """A net that passes one lit pixel through, halved in size twice: each stage lights its own cell, 1 at most."""

    class Through(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.early, self.middle, self.late = (nn.AvgPool2d(2), nn.AvgPool2d(2), nn.AvgPool2d(2))
            self.early, self.middle, self.late = (
                nn.Conv2d(c, 1, k, k, bias=False) for c, k in ((3, 1), (1, 2), (1, 2))
            )
            with torch.no_grad():
                for conv in (self.early, self.middle, self.late):
                    conv.weight.fill_(1)

        def forward(self, images: Tensor) -> Tensor:
            return self.late(self.middle(self.early(images))).sum((2, 3))

    images = torch.zeros(1, 3, 8, 8)
    images[0, 0, 0, 0], images[0, 0, 0, 1] = 3, 1.5
    found = sightline.maps(Through(), images, 0, layer="late", method="fused-layer-cam")
    assert_close(found[0, 0, 0], torch.tensor(1.0))  # the late map's corner
    late = torch.tensor([1, 1, 0.875, 0.625, 0.375, 0.125, 0, 0])  # its 1 and 0, upsampled fourfold
    assert_close(found[0, 0], torch.maximum(late, torch.tensor([math.tanh(2), math.tanh(1), 0, 0, 0, 0, 0, 0])))


def test_a_dead_net_gives_zeros() -> None:
    model, images = seeded(Stages), image(2)
    with torch.no_grad():
        model.head.weight.zero_()
    assert not sightline.maps(model, images, 1, layer="late", method="fused-layer-cam").any()


@pytest.mark.parametrize("gamma", [0.0, -1.0, math.nan])
def test_a_gamma_that_scales_nothing_is_refused(gamma: float) -> None:
    with pytest.raises(MethodError, match="positive gamma"):
        sightline.maps(seeded(Stages), image(), 1, layer="late", method=METHOD.set(gamma=gamma))


def test_torchcam_scales_all_layers() -> None:
    """Given maps from 0 to 1 of which two are deep; with nothing but shallow ones it would be the same."""
    methods = pytest.importorskip("torchcam.methods", reason="torchcam isn't installed")
    model, images = seeded(Stages).double(), image(2, 12, 8, dtype=torch.float64)
    maps = [each / each.amax((1, 2), keepdim=True) for each in layer_cams(model, images, [2, 0])]
    ours = sightline.maps(model, images, [2, 0], layer="late", method="fused-layer-cam")
    deep = [each.clamp(max=1 - 1e-9).atanh() / 2 for each in maps[1:]]
    assert_close(methods.LayerCAM.fuse_cams([maps[0], *deep]), ours, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(methods.LayerCAM.fuse_cams(maps), ours)
