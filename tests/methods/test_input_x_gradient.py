"""Input x gradient against differences of the score, its sum on a net without biases, and captum."""

import pytest
import torch
from nets import Pooled, image, seeded
from torch import nn
from torch.testing import assert_close
from torchvision.models.vgg import make_layers

import sightline


def test_equals_the_definition() -> None:
    """sum_c x ds/dx with the derivatives taken as differences of scores, one value of the image at a time."""
    build = lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 3 * 4, 3))  # noqa: E731
    model, images, step = seeded(build).double(), image(2, 5, 6, dtype=torch.float64), 1e-5
    true = torch.zeros(2, 5, 6, dtype=torch.float64)
    for n, target in enumerate([2, 0]):
        for y in range(5):
            for x in range(6):
                for c in range(3):
                    nudged = [images[n].clone(), images[n].clone()]
                    nudged[0][c, y, x] += step
                    nudged[1][c, y, x] -= step
                    high, low = (float(model(each[None])[0, target].detach()) for each in nudged)
                    true[n, y, x] += images[n, c, y, x] * (high - low) / (2 * step)
    found = sightline.maps(model, images, [2, 0], method="input-x-gradient")
    assert_close(found, true, rtol=1e-6, atol=1e-8)
    assert (found < 0).any()


def test_by_hand() -> None:
    """score = red^2 - 3 green: 2 red^2 - 3 green at each pixel."""
    images = torch.tensor([[[[1.0, -2]], [[1, 0]], [[7, 7]]]])
    found = sightline.maps(
        nn.Identity(), images, lambda out: (out[:, 0] ** 2 - 3 * out[:, 1]).sum((1, 2)), method="input-x-gradient"
    )
    assert_close(found, torch.tensor([[[-1.0, 8]]]))


def test_sums_to_the_score_of_a_net_of_relus_and_maxima_without_biases() -> None:
    model = seeded(lambda: nn.Sequential(make_layers([8, "M", 16, 16, "M"]), nn.Flatten(), nn.Linear(256, 4))).double()
    for module in model.modules():
        if getattr(module, "bias", None) is not None:
            module.bias = None
    images = image(2, 16, 16, dtype=torch.float64)
    found = sightline.maps(model, images, [[0, 1, 2, 3]] * 2, method="input-x-gradient")
    assert_close(found.sum((2, 3)), model(images).detach())


def test_equals_captum() -> None:
    attr = pytest.importorskip("captum.attr", reason="captum isn't installed")
    model, images = seeded(Pooled).double(), image(3, 5, 6, dtype=torch.float64)
    theirs = attr.InputXGradient(model).attribute(images.clone().requires_grad_(), [2, 0, 1]).sum(1)
    assert_close(sightline.maps(model, images, [2, 0, 1], method="input-x-gradient"), theirs.detach())
