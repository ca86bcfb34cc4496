"""RefineCAM against its product in loops, by hand, and the peers."""

import warnings

import pytest
import torch
from nets import captured, image, seeded
from test_compose import Stages
from test_grad_cam_plus_plus import as_in_the_paper
from test_guided_grad_cam import bilinear
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.testing import assert_close

import sightline
from sightline.methods.refine_cam import _from_0_to_1

LAYERS = ("early", "middle", "late")


def grad_cams_plus_plus(model: nn.Module, images: Tensor, targets: list[int]) -> list[Tensor]:
    """Grad-CAM++ maps (N, h, w) of every stage, without the engine."""
    found = []
    for layer in LAYERS:
        score = lambda out: out[range(len(images)), targets]  # noqa: E731
        activations, gradients = captured(model, model.get_submodule(layer), images, score)
        found.append(as_in_the_paper(activations[:, None], gradients[:, None])[:, 0])
    return found


def test_equals_the_authors_code() -> None:
    """Each map from 0 to 1, upsampled, multiplied, in plain loops."""
    model, images, targets = seeded(Stages).double(), image(2, 12, 8, dtype=torch.float64), [2, 0]
    true = torch.ones(2, 12, 8, dtype=torch.float64)
    for maps in grad_cams_plus_plus(model, images, targets):
        for n in range(2):
            values = maps[n].flatten().tolist()
            low, high = min(values), max(values)
            assert high > low
            scaled = [[(value - low) / (high - low) for value in row] for row in maps[n].tolist()]
            fine = bilinear(scaled, 12, 8)
            for y in range(12):
                for x in range(8):
                    true[n, y, x] *= fine[y][x]
    assert_close(sightline.maps(model, images, targets, layer="late", method="refine-cam"), true, rtol=1e-5, atol=1e-9)


def test_by_hand() -> None:
    maps = torch.tensor([[[1.0, 3]], [[2, 2]], [[0, 0]]])
    assert_close(_from_0_to_1(maps), torch.tensor([[[0.0, 1]], [[1, 1]], [[0, 0]]]))


def test_of_one_layer_is_that_map_from_0_to_1() -> None:
    model, images = seeded(Stages), image(2)
    found = sightline.maps(model, images, 1, layer="early", method="refine-cam")
    plain = sightline.maps(model, images, 1, layer="early", method="grad-cam++")
    low, high = plain.amin((1, 2), keepdim=True), plain.amax((1, 2), keepdim=True)
    assert_close(found, (plain - low) / (high - low))


def test_equals_torchcam() -> None:
    """Its fusion; its Grad-CAM++ is wrong (it never divides), so it is given the true maps."""
    methods = pytest.importorskip("torchcam.methods", reason="torchcam isn't installed")
    model, images = seeded(Stages).double(), image(2, 12, 8, dtype=torch.float64)
    theirs = methods.RefineCAM.fuse_cams(grad_cams_plus_plus(model, images, [2, 0]), normalized=False)
    ours = sightline.maps(model, images, [2, 0], layer="late", method="refine-cam")
    assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_pytorch_grad_cam_upsamples_to_the_image_and_rescales_there_again() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = pytest.importorskip("pytorch_grad_cam", reason="pytorch-grad-cam isn't installed")
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    model, images = seeded(Stages), image(1, 12, 8)
    model.head.weight.data *= 100  # beside its epsilon of 1e-6
    cam = peer.RefineCAM(model, [model.get_submodule(layer) for layer in LAYERS])
    theirs = torch.from_numpy(cam(images, [ClassifierOutputTarget(2)]))
    again = torch.ones(1, 1, 12, 8)
    for maps in grad_cams_plus_plus(model.double(), images.double(), [2]):
        again *= _from_0_to_1(interpolate(_from_0_to_1(maps[:, None]), (12, 8), mode="bilinear"))
    assert_close(theirs, _from_0_to_1(again)[:, 0], rtol=1e-2, atol=2e-3)
