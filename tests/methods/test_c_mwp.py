"""c-MWP against the authors' two passes written as loops, and against cases solved by hand."""

from typing import Any

import torch
from nets import Disconnected, Residual, image, roughened, seeded
from test_excitation_backprop import PICTURE, two_cells
from test_propagation import WINNING, branching, branching_by_loops
from torch.testing import assert_close

import sightline
from sightline.targets import class_, contrast, counterfactual


def against(this: int, that: int) -> Any:
    return contrast(class_(this), class_(that))


def test_equals_the_paper() -> None:
    """The class's winning probabilities less those in a net whose last weights are negated, cut at 0."""
    net, images = branching(torch.relu), image(2, 4, 6, dtype=torch.float64)
    found = sightline.maps(net, images, [0, 2], layer="norm", method="c-mwp")
    sides = []
    for _ in range(2):
        rows = [branching_by_loops(net, x[None], target, WINNING)["norm"][0] for x, target in zip(images, [0, 2])]
        sides.append(torch.stack(rows).sum(1))
        net.last.weight.data.neg_()
    true = (sides[0] - sides[1]).clamp(min=0)
    assert_close(found, true, rtol=1e-9, atol=1e-12)
    assert true.any()
    assert (true == 0).any()


def test_by_hand() -> None:
    """The first class wins 5/8 and 3/8 in the two cells, and its dual 1/2 and 1/2."""
    found = sightline.maps(two_cells(), PICTURE, 0, layer="0", method="c-mwp")
    assert_close(found, torch.tensor([[[1 / 8, 0.0]]]))
    found = sightline.maps(two_cells(), PICTURE, counterfactual(class_(0)), layer="0", method="c-mwp")
    assert_close(found, torch.tensor([[[0.0, 1 / 8]]]))


def test_a_class_against_itself_is_zero_and_against_another_the_difference() -> None:
    net, images = roughened(seeded(Residual)), image(2, 8, 6)
    assert not sightline.maps(net, images, against(1, 1), layer="early", method="c-mwp").any()
    this, that = (sightline.maps(net, images, k, layer="early", method="excitation-backprop") for k in (1, 3))
    found = sightline.maps(net, images, against(1, 3), layer="early", method="c-mwp")
    assert_close(found, (this - that).clamp(min=0))
    assert found.any()


def test_what_a_class_does_not_see_has_none() -> None:
    """DiFull: class i sees cell i, by weights of either sign."""
    net, images = seeded(Disconnected), image(2, 8, 8)
    found = sightline.maps(net, images, [[0, 1, 2, 3]] * 2, layer="early", method="c-mwp")
    for k in range(4):
        cell = found[:, k].unflatten(1, (2, 4)).unflatten(3, (2, 4))[:, k // 2, :, k % 2]
        assert_close(cell.sum((1, 2)), found[:, k].sum((1, 2)))
        assert cell.any()
