"""Deconvnet against custom functions in every ReLU's place, transposes by hand, and captum."""

import warnings

import pytest
import torch
from nets import image, relative_error, roughened, seeded
from test_guided_backprop import STYLES, Deconv, Styled, captums, derived, modular
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close
from torchvision import models

import sightline


@pytest.mark.parametrize("style", STYLES)
def test_equals_custom_functions_however_the_relu_is_written(style: str) -> None:
    model, images = seeded(lambda: Styled(style)).double(), image(2, 7, 6, dtype=torch.float64)
    true = derived(model, images, [2, 0], Deconv, 2).abs().amax(1)
    found = sightline.maps(model, images, [2, 0], method="deconvnet")
    assert_close(found, true)
    assert not torch.equal(found, sightline.maps(model, images, [2, 0], method="guided-backprop"))


@pytest.mark.parametrize(("name", "calls"), [("googlenet", 57), ("densenet121", 121), ("resnet50", 49)])
def test_equals_custom_functions_on_large_nets(name: str, calls: int) -> None:
    extra = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    model = roughened(seeded(lambda: getattr(models, name)(num_classes=10, **extra)))
    images = image(1, 64, 64)
    true = derived(model, images, [3], Deconv, calls).abs().amax(1)
    assert relative_error(sightline.maps(model, images, 3, method="deconvnet"), true) < 1e-5


def test_equals_the_paper() -> None:
    """Section 2.1 as a net run upwards: unpool at the switches, a ReLU, the transposed filters; no gradient."""
    model = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 5, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(5, 6, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24, 3),
        )
    ).double()
    first, _, _, second, _, _, head = model
    images = image(2, 8, 8, dtype=torch.float64)
    below = F.relu(first(images))
    pooled, switches = F.max_pool2d(below, 2, return_indices=True)
    for target in range(3):
        up = F.relu(head.weight[target].view(1, 6, 2, 2).expand(2, -1, -1, -1))
        up = F.conv_transpose2d(up, second.weight)
        up = F.max_unpool2d(up, switches, 2, output_size=below.shape[-2:])
        up = F.conv_transpose2d(F.relu(up), first.weight)
        found = sightline.maps(model, images, target, method="deconvnet")
        assert_close(found, up.abs().amax(1).detach())
    assert pooled.any()


def test_by_hand() -> None:
    """score = relu(2 x) - relu(x) + relu(-3 x), of red at one pixel, whatever x is.

    Back from 1, -1 and 1: the second is cut, the others go on, to 2 and -3.
    """

    class Net(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            x = images[:, :1].mean((2, 3))
            return (2 * x).relu() - x.relu() + (-3 * x).relu()

    images = torch.zeros(2, 3, 1, 1)
    images[:, 0, 0, 0] = torch.tensor([3.0, -1.0])
    assert sightline.maps(Net(), images, 0, method="deconvnet").flatten().tolist() == [1, 1]
    assert sightline.maps(Net(), images, 0, method="guided-backprop").flatten().tolist() == [2, 3]


def test_equals_captum_where_every_relu_is_a_module() -> None:
    attr = pytest.importorskip("captum.attr", reason="captum isn't installed")
    model, images = roughened(seeded(modular)).double(), image(2, 8, 8, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = attr.Deconvolution(model).attribute(images.clone().requires_grad_(), [2, 0])
    assert_close(sightline.maps(model, images, [2, 0], method="deconvnet"), theirs.abs().amax(1).detach())
    assert relative_error(theirs.abs().amax(1), captums(model, images, [2, 0])) > 0.1
