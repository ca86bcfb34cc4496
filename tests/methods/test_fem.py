"""FEM against its rule written as loops, and against cases solved by hand; its peer is another method."""

import pytest
import torch
from drawn import SEEDS, dead, drawn, plane
from hypothesis import given
from nets import Pooled, image, seeded
from test_score_cam import features, pytorch_grad_cam, scaled
from torch import Tensor
from torch.testing import assert_close

import sightline
from sightline.errors import MethodError
from sightline.methods.fem import fem


def as_in_the_paper(activations: Tensor, sigmas: float = 2.0) -> Tensor:
    """Each channel's mean, wherever the channel is more than so many standard deviations above it."""
    n_, _, c_, h_, w_ = activations.shape
    out = torch.zeros(n_, 1, h_, w_, dtype=activations.dtype)
    for n in range(n_):
        for c in range(c_):
            values = activations[n, 0, c].flatten().tolist()
            mean = sum(values) / len(values)
            spread = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
            for y in range(h_):
                for x in range(w_):
                    if activations[n, 0, c, y, x].item() > mean + sigmas * spread:
                        out[n, 0, y, x] += mean
    return out


@given(SEEDS)
def test_equals_the_paper(seed: int) -> None:
    activations, _ = drawn(seed)
    for sigmas in (2.0, 1.0, 0.0):
        assert_close(fem(activations, sigmas=sigmas), as_in_the_paper(activations, sigmas))


def test_by_hand() -> None:
    """The means are 2, 1 and -9. One cell of 16 stands 15^.5 deviations above its channel's, half of them only 1."""
    lone = plane([32, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0])
    many = plane([2, 0, 2, 0], [0, 2, 0, 2], [2, 0, 2, 0], [0, 2, 0, 2])
    low = plane([-10, -10, -10, -10], [-10, -10, -10, -10], [-10, -10, -10, -10], [-10, -10, -10, 6])
    expected = torch.zeros(4, 4).double()
    expected[0, 0], expected[3, 3] = 2, -9
    assert_close(fem(torch.cat([lone, many, low])), expected)
    expected += many[0] / 2  # at half a deviation
    assert_close(fem(torch.cat([lone, many, low]), sigmas=0.5), expected)


def test_an_even_channel_counts_nothing() -> None:
    for value in (0.1, -0.3, 7.0):
        assert torch.equal(fem(torch.full((1, 4, 5), value)), torch.zeros(4, 5))


def test_a_dead_layer_gives_zeros() -> None:
    assert torch.equal(fem(dead()[0]), torch.zeros(2, 4, 5).double())


def test_refuses_a_threshold_below_the_mean() -> None:
    with pytest.raises(MethodError, match="got sigmas=-1"):
        fem(drawn(0)[0], sigmas=-1.0)


def test_pytorch_grad_cam_has_something_else_under_the_name() -> None:
    """It multiplies activations by the share of cells above the threshold; the paper multiplies masks by means."""
    model, images = seeded(Pooled).double(), image(2, dtype=torch.float64)
    planes = features(model, "features", images)[:, None]
    found = sightline.maps(model, images, 0, layer="features", method="fem")
    assert_close(found, as_in_the_paper(planes)[:, 0])
    theirs = pytorch_grad_cam("FEM", model.float(), "features", images.float(), [0, 0])
    assert float((theirs - scaled(found, images)).abs().max()) > 0.2
    means, spreads = planes.mean((-2, -1), keepdim=True), planes.std((-2, -1), correction=0, keepdim=True)
    shares = (planes > means + 2 * spreads).double().mean((-2, -1), keepdim=True)
    assert_close(theirs, scaled((shares * planes).sum(2)[:, 0], images), rtol=0, atol=1e-4)
