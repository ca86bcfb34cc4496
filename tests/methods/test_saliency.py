"""Saliency against differences of the score itself, a net solved by hand, and captum."""

import pytest
import torch
from nets import Pooled, image, seeded
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.testing import assert_close

import sightline


def smooth() -> nn.Module:
    """A small net with a tanh and no kinks."""
    return seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 3 * 4, 3))).double()


def test_equals_the_paper() -> None:
    """Section 3.1 with the derivatives taken as differences of scores, one value of the image at a time."""
    model, images, step = smooth(), image(2, 5, 6, dtype=torch.float64), 1e-5
    true = torch.zeros(2, 5, 6, dtype=torch.float64)
    for n, target in enumerate([2, 0]):
        for y in range(5):
            for x in range(6):
                for c in range(3):
                    nudged = [images[n].clone(), images[n].clone()]
                    nudged[0][c, y, x] += step
                    nudged[1][c, y, x] -= step
                    high, low = (float(model(each[None])[0, target].detach()) for each in nudged)
                    true[n, y, x] = max(true[n, y, x].item(), abs(high - low) / (2 * step))
    found = sightline.maps(model, images, [2, 0], method="saliency")
    assert_close(found, true, rtol=1e-6, atol=1e-9)


def test_by_hand() -> None:
    """score = 2 red - 3 green at the one pixel in the corner, and 5 blue everywhere else."""
    images = image(1, 2, 2, dtype=torch.float64)
    weights = torch.zeros(3, 2, 2, dtype=torch.float64)
    weights[0, 0, 0], weights[1, 0, 0], weights[2] = 2, -3, torch.tensor([[0, 5], [5, 5]])
    found = sightline.maps(nn.Identity(), images, lambda out: (out * weights).sum((1, 2, 3)), method="saliency")
    assert_close(found, torch.tensor([[[3, 5], [5, 5]]]).double())


def test_several_targets_each() -> None:
    model, images = smooth(), image(2, 5, 6, dtype=torch.float64)
    found = sightline.maps(model, images, [[0, 1, 2]] * 2, method="saliency")
    for k in range(3):
        assert_close(found[:, k], sightline.maps(model, images, k, method="saliency"))


def test_what_the_net_does_not_see_is_0() -> None:
    model = nn.Sequential(nn.ZeroPad2d((0, -2, 0, 0)), smooth())
    images = pad(image(2, 5, 6, dtype=torch.float64), (0, 2))
    found = sightline.maps(model, images, 1, method="saliency")
    assert not found[..., 6:].any()
    assert found[..., :6].all()


def test_a_score_that_ignores_the_image_is_an_error() -> None:
    class Blind(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.ones(len(images), 3)

    with pytest.raises(sightline.errors.CutOff, match="doesn't depend on the image"):
        sightline.maps(Blind(), image(), 1, method="saliency")


def test_equals_captum() -> None:
    attr = pytest.importorskip("captum.attr", reason="captum isn't installed")
    for model in (smooth(), seeded(Pooled).double()):
        images = image(3, 5, 6, dtype=torch.float64)
        theirs = attr.Saliency(model).attribute(images.clone().requires_grad_(), [2, 0, 1], abs=True).amax(1)
        assert_close(sightline.maps(model, images, [2, 0, 1], method="saliency"), theirs)
