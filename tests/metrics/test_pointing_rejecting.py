"""The paper's pointing game against its text as a loop, cases by hand, and what rejecting all or nothing gets."""

import numpy as np
import pytest
import torch
from given import box, dot, given
from toys import Toy

from sightline.metrics.pointing_rejecting import (
    accuracy,
    best,
    by_threshold,
    held_out,
    keeping_all,
    optimistic,
    pointing_rejecting,
    rejecting_all,
    thresholds,
)
from sightline.trials import Truth

TRUTH = box(10, 10, 20, 20)
# hit, present, maximum: right where kept and hit, or rejected and absent
BY_HAND = np.array([[1, 1, 8.0], [1, 1, 3], [0, 1, 5], [0, 0, 2], [0, 0, 4]])


def as_the_paper_says(values: np.ndarray, t: float) -> float:
    hits = misses = 0
    for hit, present, maximum in values:
        rejected = maximum < t
        if (present and not rejected and hit) or (not present and rejected):
            hits += 1
        else:
            misses += 1
    return 100 * hits / (hits + misses)


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_paper_at_every_threshold(seed: int) -> None:
    draw = np.random.default_rng(seed)
    present = draw.random(40) < 0.5
    values = np.stack([present & (draw.random(40) < 0.7), present, draw.integers(0, 12, 40) / 2], 1).astype(float)
    rows = by_threshold(values, ())
    assert rows[0, 0] == 0
    assert (np.diff(rows[:, 0]) > 0).all()
    for t, found in rows:
        assert found == pytest.approx(as_the_paper_says(values, t))
    every = [as_the_paper_says(values, t) for t in np.arange(-1, 8, 0.25)]
    assert optimistic(values, ()) == pytest.approx(max(every))  # no threshold is left out
    assert held_out(values, ()) == accuracy(values[20:], best(values[:20]))


@pytest.mark.parametrize(("t", "right"), [(0, 2), (2, 2), (2.5, 3), (3, 3), (3.5, 2), (4.5, 3), (5, 3), (8, 3), (9, 2)])
def test_accuracy_by_hand(t: float, right: int) -> None:
    assert accuracy(BY_HAND, t) == pytest.approx(100 * right / 5)


def test_figures_by_hand() -> None:
    """The lowest of the best thresholds is taken; of two trials one chooses and the other is judged."""
    assert best(BY_HAND) == 3
    assert optimistic(BY_HAND, ()) == 60
    assert keeping_all(BY_HAND, ()) == rejecting_all(BY_HAND, ()) == 40
    # the first two trials choose to keep all, which of the other three gets none right
    assert held_out(BY_HAND, ()) == 0
    # the first two, reversed, choose to reject all, which gets two of three wrong
    assert held_out(BY_HAND[::-1], ()) == pytest.approx(100 / 3)
    assert held_out(BY_HAND[:1], ()) == 100
    assert thresholds(BY_HAND).tolist() == [0, 2, 3, 4, 5, 8, np.nextafter(8, 9)]


def test_a_map_that_never_changes_its_height_gets_what_one_answer_for_all_gets() -> None:
    values = np.array([[1, 1, 5.0]] * 3 + [[0, 0, 5]] * 7)
    assert optimistic(values, ()) == max(keeping_all(values, ()), rejecting_all(values, ())) == 70


def test_there_are_not_more_steps_than_a_hundred() -> None:
    values = np.stack([np.ones(5000), np.ones(5000), np.random.default_rng(0).random(5000)], 1)
    assert len(thresholds(values)) == 103


# One trial.


def test_a_trial_gives_its_hit_presence_and_raw_maximum() -> None:
    assert pointing_rejecting(given(dot(15, 15, value=7), TRUTH)) == (1, 1, 7)
    assert pointing_rejecting(given(dot(21, 15, value=7), TRUTH)) == (0, 1, 7)  # no tolerance
    assert pointing_rejecting(given(dot(15, 15, value=7), None)) == (0, 0, 7)
    assert pointing_rejecting(given(dot(15, 15) + dot(30, 30), TRUTH)) == (0.5, 1, 1)


def test_the_maximum_is_the_raw_maps_not_the_pictures() -> None:
    """Which between two cells is lower."""
    trial = Toy(torch.tensor([[9.0, 0.0]]), box(0, 0, 1, 1), image=torch.zeros(3, 1, 3))
    assert trial.heat.max() == 9
    trial = Toy(torch.tensor([[9.0, 0.0]]), box(0, 0, 1, 1), image=torch.zeros(3, 1, 1))
    assert trial.heat.max() == 4.5
    assert pointing_rejecting(trial) == (1, 1, 9)


@pytest.mark.parametrize("value", [0.0, -2.0])
def test_an_empty_map_is_rejected_above_zero_and_wrong_at_zero(value: float) -> None:
    empty = torch.full((50, 60), value)
    there, absent = (pointing_rejecting(given(empty, truth)) for truth in (TRUTH, None))
    assert (there, absent) == ((0, 1, 0), (0, 0, 0))
    values = np.array([there, absent])
    assert accuracy(values, 0) == 0
    assert accuracy(values, 1e-9) == 50


def test_trials_that_cant_be_judged() -> None:
    assert pointing_rejecting(given(dot(15, 15), Truth("thing"))) is None
    assert pointing_rejecting(given(dot(15, 15), box(10, 10, 20, 20, difficult=True))) is None


def test_masks_ignored_pixels_and_boxes() -> None:
    mask, ignore = np.zeros((2, 50, 60), dtype=bool)
    mask[10:20, 10:20] = ignore[30, 30] = True
    truth = box(25, 25, 35, 35, mask=mask, ignore=ignore)
    raw = dot(30, 30) + dot(15, 15, value=0.5)
    assert pointing_rejecting(given(raw, truth)) == (1, 1, 1)
    assert pointing_rejecting(given(dot(15, 15), truth), region="boxes") == (0, 1, 1)
    assert pointing_rejecting(given(raw, truth), region="boxes") == (1, 1, 1)
