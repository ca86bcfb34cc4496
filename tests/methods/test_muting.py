"""Muting against the search written as loops, and against nets whose least set is known."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from nets import Deep, image, seeded
from torch import Tensor, nn
from torch.testing import assert_close

import sightline
from sightline.errors import MethodError
from sightline.methods import method


def muting(**options: Any) -> Any:
    return method("muting").set(**{"cells": 4, **options})


class Reading(nn.Module):
    """A net of two classes whose first score is a function of the cells' means (N, 4, 4); the other's is 0."""

    def __init__(self, score: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.score = score

    def forward(self, images: Tensor) -> Tensor:
        score = self.score(nn.functional.adaptive_avg_pool2d(images.mean(1), 4))
        return torch.stack([score, torch.zeros_like(score)], 1)


def logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


ONES = torch.ones(1, 3, 8, 8, dtype=torch.float64)
A, B = (1, 2), (3, 0)


def at(values: dict[tuple[int, int], float]) -> Tensor:
    expected = torch.zeros(1, 4, 4, dtype=torch.float64)
    for (y, x), value in values.items():
        expected[0, y, x] = value
    return expected


def test_two_cells_that_are_both_needed_by_hand() -> None:
    """Scores 4, 0 and -4 with both, one and none of them: the confidence must fall from s(4) to a tenth of it."""
    model = Reading(lambda cells: 4 * (cells[:, *A] + cells[:, *B]) - 4)
    share = (logistic(0) - logistic(-4)) / logistic(4)
    assert_close(sightline.maps(model, ONES, 0, method=muting()), at({A: share, B: share}), rtol=1e-5, atol=0)


def test_one_cell_is_enough_for_a_goal_that_is_easier() -> None:
    """At 0.6 one of the two will do, and of equals it's the first; without it the confidence is all there."""
    model = Reading(lambda cells: 4 * (cells[:, *A] + cells[:, *B]) - 4)
    share = (logistic(4) - logistic(0)) / logistic(4)
    assert_close(sightline.maps(model, ONES, 0, method=muting(until=0.6)), at({A: share}), rtol=1e-5, atol=0)


def test_cells_that_were_muted_in_vain_are_shown_again() -> None:
    """Either of the two will do for the net: muting one alone changes nothing, so the greedy search begins astray."""
    model = Reading(lambda cells: 8 * torch.maximum(cells[:, *A], cells[:, *B]) - 4)
    share = (logistic(4) - logistic(-4)) / logistic(4)
    assert_close(sightline.maps(model, ONES, 0, method=muting()), at({A: share, B: share}), rtol=1e-5, atol=0)


def test_what_speaks_against_the_class_is_left_alone() -> None:
    model = Reading(lambda cells: 8 * cells[:, *A] - 3 * cells[:, *B] - 1)
    share = (logistic(4) - logistic(-4)) / logistic(4)
    assert_close(sightline.maps(model, ONES, 0, method=muting()), at({A: share}), rtol=1e-5, atol=0)


def test_an_unreachable_goal_gives_what_lowers_the_confidence_most() -> None:
    """With B muted the score is 1, never less; A raises it when it's muted."""
    model = Reading(lambda cells: 2 - cells[:, *A] + 1 - (1 - cells[:, *B]))
    share = (logistic(2) - logistic(1)) / logistic(2)
    assert_close(sightline.maps(model, ONES, 0, method=muting()), at({B: share}), rtol=1e-5, atol=0)


@pytest.mark.parametrize("slope", [0.0, -2.0])
def test_zeros_where_no_cell_lowers_it(slope: float) -> None:
    model = Reading(lambda cells: slope * cells.sum((1, 2)))
    assert torch.equal(sightline.maps(model, ONES, 0, method=muting()), torch.zeros(1, 4, 4).double())


def test_zeros_where_there_is_no_confidence() -> None:
    """s(-1000) is 0: nothing is left to take away (0/0)."""
    model = Reading(lambda cells: 0 * cells[:, *A] - 1000)
    assert torch.equal(sightline.maps(model, ONES, 0, method=muting()), torch.zeros(1, 4, 4).double())


class Sharp(Deep):
    """A net that is sure of what it sees."""

    def forward(self, images: Tensor) -> Tensor:
        return 12 * super().forward(images)


@torch.no_grad()
def by_loops(model: nn.Module, picture: Tensor, target: int, cells: int, until: float, fill: str) -> Tensor:
    blank = torch.zeros_like(picture)
    if fill == "mean":
        blank += picture.mean((1, 2), keepdim=True)

    def muted(cells_muted: set[tuple[int, int]]) -> Tensor:
        image = picture.clone()
        for y in range(picture.shape[1]):
            for x in range(picture.shape[2]):
                if (y * cells // picture.shape[1], x * cells // picture.shape[2]) in cells_muted:
                    image[:, y, x] = blank[:, y, x]
        return image[None]

    def score(cells_muted: set[tuple[int, int]]) -> float:
        return model(muted(cells_muted))[0, target].item()

    def confidence(cells_muted: set[tuple[int, int]]) -> float:
        return model(muted(cells_muted)).float().softmax(1)[0, target].item()  # confidences are of single precision

    every = [(y, x) for y in range(cells) for x in range(cells)]
    own = confidence(set())
    chains: list[list[set[tuple[int, int]]]] = []
    for measure in (confidence, score):
        chain: list[set[tuple[int, int]]] = [set()]
        while confidence(chain[-1]) > until * own and len(chain[-1]) < len(every):
            chain.append(min((chain[-1] | {cell} for cell in every if cell not in chain[-1]), key=measure))
        chains.append(chain)
    goal = max(until * own, min(confidence(link) for chain in chains for link in chain))
    sets = []
    for chain in chains:
        for found in chain:
            if confidence(found) <= goal:
                while rest := [
                    found - {cell} for cell in every if cell in found and confidence(found - {cell}) <= goal
                ]:
                    found = min(rest, key=confidence)
                sets.append(found)
                break
    found = min(sets, key=len)
    values = torch.zeros(cells, cells, dtype=picture.dtype)
    for cell in found:
        values[cell] = (confidence(found - {cell}) - confidence(found)) / own
    return values


@pytest.mark.parametrize(
    ("cells", "until", "fill"), [(3, 0.3, "zero"), (4, 0.1, "zero"), (4, 0.5, "mean"), (3, 0, "zero")]
)
def test_equals_the_search_in_loops(cells: int, until: float, fill: str) -> None:
    """Cells that don't divide the image evenly; sets of several sizes side by side, one goal that isn't reached."""
    model, images = seeded(Sharp).double(), 2 * image(3, 9, 10, seed=2, dtype=torch.float64)
    targets = model(images).argsort(1, descending=True)[:, :2].tolist()
    found = sightline.maps(model, images, targets, method=muting(cells=cells, until=until, fill=fill))
    true = [by_loops(model, images[n], k, cells, until, fill) for n in range(3) for k in targets[n]]
    assert len({int(values.count_nonzero()) for values in true}) > 1
    assert_close(found, torch.stack(true).view(3, 2, cells, cells), rtol=1e-4, atol=1e-6)


class Rivals(nn.Module):
    """Two cells make the first class, each of them nearly alone; a second class gains by every other cell's loss."""

    def forward(self, images: Tensor) -> Tensor:
        cells = nn.functional.adaptive_avg_pool2d(images.mean(1), 4)
        one, other = cells[:, *A], cells[:, *B]
        lost = (1 - cells).sum((1, 2)) - (1 - one) - (1 - other)
        return torch.stack([one + other + 4 * torch.maximum(one, other), 2 + 1.5 * lost], 1)


def test_a_rival_that_gains_by_muting_does_not_lead_astray() -> None:
    """Every other cell lowers the confidence more than one of the two does, but it takes four of them."""
    share = (logistic(3) - logistic(-2)) / logistic(4)
    goal = 1.01 * logistic(-2) / logistic(4)
    found = sightline.maps(Rivals(), ONES, 0, method=muting(until=goal))
    assert_close(found, at({A: share, B: share}), rtol=1e-5, atol=0)


def test_costs_no_more_than_is_said() -> None:
    """2 (C + 1)^2 + 2 passes at most for C cells; a net that nothing changes takes both searches' first halves."""
    seen = [0]

    def counted(model: nn.Module, **options: Any) -> int:
        seen[0] = 0
        model.register_forward_pre_hook(lambda _, given: seen.__setitem__(0, seen[0] + len(given[0])))
        sightline.maps(model, ONES, 0, method=muting(**options))
        return seen[0]

    assert counted(Reading(lambda cells: 0 * cells.sum((1, 2)))) == 2 + 2 * (16 * 17 // 2 + 16)
    assert counted(Reading(lambda cells: 4 * (cells[:, *A] + cells[:, *B]) - 4)) == 2 + 2 * (16 + 1 + 15 + 1 + 2 + 1)
    last = Reading(lambda cells: 8 * cells.amax((1, 2)) - 4)  # every cell must go, and then one at a time is spared
    assert counted(last) <= 2 * 17**2 + 2
    assert counted(Reading(lambda cells: 8 * cells[:, 3, 3] - 4), cells=1) == 2 * 2**2 + 2


@pytest.mark.parametrize("options", [{"cells": 0}, {"cells": 9}, {"until": 1.0}, {"until": -0.1}])
def test_refuses_what_is_no_grid_and_no_share(options: dict[str, float]) -> None:
    with pytest.raises(MethodError, match="muting takes 1 cell per side or more.*and 8 x 8 pixels"):
        sightline.maps(seeded(Sharp).double(), ONES, 0, method=muting(**options))
