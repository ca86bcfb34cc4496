"""The pointing game against TorchRay's rule written as loops, cases by hand, and its limits."""

import itertools
import math
import time
from typing import Any

import numpy as np
import pytest
import torch
from given import Given, box, dot, given
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d
from torch.testing import assert_close
from toys import Toy

from sightline.errors import MetricError
from sightline.metrics.percent import class_percent, percent
from sightline.metrics.pointing import near, peaks, pointing, small_among_others, smoothed, tied
from sightline.trials import Sample, Truth


def hit(raw: Tensor, truth: Truth, **options: Any) -> float | None:
    found = pointing(given(raw, truth), **options)
    return None if found is None else found[0]


def disc(tolerance: int) -> int:
    """How many pixels lie at a squared distance strictly below that of the tolerance."""
    reach = range(-tolerance - 1, tolerance + 2)
    return sum(x * x + y * y < tolerance * tolerance for x, y in itertools.product(reach, reach))


# The rule.


def test_the_disc_of_15_pixels_is_torchrays() -> None:
    """697 of them; with <= there would be 709."""
    region = np.zeros((50, 60), dtype=bool)
    region[25, 30] = True
    every = np.argwhere(np.ones_like(region))
    assert near(region, every, 15).sum() == disc(15) == 697
    alone = [near(region, point[None], 15)[0] for point in every]
    assert near(region, every, 15).tolist() == alone


@pytest.mark.parametrize(("away", "hits"), [((14, 0), 1), ((15, 0), 0), ((9, 12), 0), ((9, 11), 1), ((10, 11), 1)])
def test_the_edge_of_the_tolerance_by_hand(away: tuple[int, int], hits: float) -> None:
    """9, 12 and 15 make a right triangle: at a distance of exactly 15 there is no hit any more."""
    truth = box(20, 20, 21, 21)
    assert hit(dot(20 + away[0], 20 + away[1]), truth) == hits
    assert hit(dot(20 + away[1], 20 + away[0]), truth) == hits
    assert hit(dot(20 + away[0], 20 + away[1]), truth, tolerance=0) == 0


def test_without_tolerance_the_pixel_itself_must_be_in_the_region() -> None:
    """A box's ends are exclusive, and it has the pixels whose centres it has."""
    truth = box(5, 6, 9.4, 10.6)
    for tolerance in (0, 0.5, 1):
        assert [hit(dot(x, 7), truth, tolerance=tolerance) for x in (4, 5, 8, 9)] == [0, 1, 1, 0]
        assert [hit(dot(6, y), truth, tolerance=tolerance) for y in (5, 6, 10, 11)] == [0, 1, 1, 0]
    assert hit(dot(9, 7), truth, tolerance=2) == 1


def torchrays(mask: NDArray[np.bool_], heat: NDArray[np.floating], tolerance: float) -> bool:
    """The rule as a loop over all pixels of the object, from the first highest pixel."""
    v, u = divmod(int(heat.argmax()), heat.shape[1])
    return any((x - u) ** 2 + (y - v) ** 2 < tolerance**2 for y, x in np.argwhere(mask))


@pytest.mark.parametrize("seed", range(30))
def test_equals_torchrays_rule(seed: int) -> None:
    draw = np.random.default_rng(seed)
    height, width = draw.integers(8, 40, 2)
    mask = draw.random((height, width)) < 0.02
    mask[draw.integers(height), draw.integers(width)] = True
    raw = torch.from_numpy(draw.integers(0, 40, (height, width)).astype(np.float32))  # with ties, now and then
    for tolerance in (1, 3, 15):
        found = hit(raw, Truth("thing", mask=mask), tolerance=tolerance, ties="first")
        assert found == torchrays(mask, raw.numpy(), tolerance)


@pytest.mark.parametrize("seed", range(10))
def test_of_ties_the_share_that_hits_is_the_mean_over_them(seed: int) -> None:
    draw = np.random.default_rng(seed)
    mask = draw.random((20, 30)) < 0.01
    mask[3, 4] = True
    raw = torch.from_numpy((draw.random((20, 30)) < 0.05).astype(np.float32))
    alone = [hit(dot(x, y, 30, 20), Truth("thing", mask=mask), tolerance=4) for y, x in np.argwhere(raw.numpy() == 1)]
    found = pointing(given(raw, Truth("thing", mask=mask)), tolerance=4)
    assert found is not None
    assert found[0] == pytest.approx(np.mean(alone))
    assert found[2] == (len(alone) > 1)


def test_a_plateau_at_the_border_is_a_tie() -> None:
    """A 4 x 4 map over 40 x 40 pixels is even in its corners: of 5 x 5 highest pixels 2 x 2 are in the box."""
    raw = torch.zeros(4, 4)
    raw[0, 0] = 1
    trial = Toy(raw, box(3, 3, 9, 9), image=torch.zeros(3, 40, 40))
    assert len(peaks(trial.heat)) == 25
    assert pointing(trial, tolerance=0) == (4 / 25, 0, 1)
    assert pointing(trial, tolerance=0, ties="first") == (0, 0, 1)
    raw[0, 0] = -1
    raw[2, 1] = 5
    assert pointing(trial, tolerance=0) == (0, 0, 1)


# Limits.


def test_limits() -> None:
    truth = box(10, 10, 40, 30)
    region = torch.from_numpy(truth.region((60, 50)))
    assert hit(region.float(), truth, tolerance=0) == 1
    assert hit(1 - region.float(), truth, tolerance=0) == 0
    assert hit(torch.ones(50, 60), truth, tolerance=0) == pytest.approx(30 * 20 / 3000)
    assert hit(torch.ones(50, 60), truth, tolerance=0, ties="first") == 0
    assert hit(torch.ones(50, 60), truth, tolerance=100) == 1
    for empty in (torch.zeros(50, 60), -torch.ones(50, 60), torch.full((50, 60), torch.nan)):
        assert hit(empty, truth) is None


def test_a_signed_map_points_at_its_maximum() -> None:
    assert hit(dot(20, 20) - 3, box(20, 20, 21, 21), tolerance=0) is None
    assert hit(dot(20, 20, value=9) - 3, box(20, 20, 21, 21), tolerance=0) == 1
    assert hit(dot(20, 20, value=-9) + dot(30, 20), box(20, 20, 21, 21), tolerance=0) == 0


def test_what_the_model_did_not_see_is_passed_over() -> None:
    raw = dot(20, 20) + dot(5, 5, value=0.5)
    raw[:, 40:] = torch.nan
    assert hit(raw, box(20, 20, 21, 21), tolerance=0) == 1
    raw[20, 20] = torch.nan
    assert hit(raw, box(20, 20, 21, 21), tolerance=0) == 0
    assert hit(raw, box(5, 5, 6, 6), tolerance=0) == 1


def test_trials_that_cant_be_judged() -> None:
    raw = dot(20, 20)
    assert pointing(given(raw, None)) is None
    assert hit(raw, Truth("thing")) is None
    assert hit(raw, box(60, 0, 70, 10)) is None
    assert hit(raw, box(15, 15, 25, 25, difficult=True)) is None
    assert hit(raw, box(15, 15, 25, 25, difficult=True), difficult=True) == 1


@pytest.mark.parametrize("options", [
    {"tolerance": -1}, {"ties": "last"}, {"smooth": -0.1}, {"region": "box"},
], ids=str)  # fmt: skip
def test_other_options_are_refused(options: dict[str, Any]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(MetricError, match=f"{name}={value}"):
        hit(dot(20, 20), box(0, 0, 5, 5), **options)


# What counts as the object.


def test_a_mask_stands_before_boxes_unless_boxes_are_asked_for() -> None:
    mask = np.zeros((50, 60), dtype=bool)
    mask[10:20, 10:20] = True
    truth = box(10, 10, 50, 20, mask=mask)
    assert hit(dot(30, 15), truth, tolerance=5) == 0
    assert hit(dot(30, 15), truth, tolerance=5, region="boxes") == 1


def test_pixels_to_be_ignored_cant_be_the_peak() -> None:
    mask, ignore = np.zeros((2, 50, 60), dtype=bool)
    mask[10:20, 10:20] = ignore[30, 30] = True
    raw = dot(30, 30) + dot(15, 15, value=0.5)
    assert hit(raw, Truth("thing", mask=mask), tolerance=0) == 0
    truth = box(10, 10, 20, 20, mask=mask, ignore=ignore)
    assert hit(raw, truth, tolerance=0) == 1
    assert hit(raw, truth, tolerance=0, region="boxes") == 0


# Smoothing.


def torchrays_blur(heat: Tensor, sigma: float) -> Tensor:
    """As it describes it: exp(-x^2 / 2 sigma^2) for |x| <= 4 sigma rounded up, of sum 1, zeros around the map."""
    reach = math.ceil(4 * sigma)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2).double()
    weights = weights / weights.sum()
    wide = conv2d(heat[None, None].double(), weights.view(1, 1, -1, 1), padding=(reach, 0))
    return conv2d(wide, weights.view(1, 1, 1, -1), padding=(0, reach))[0, 0]


def test_smoothing_is_torchrays() -> None:
    raw = torch.rand(50, 60)
    found = smoothed(raw.double().numpy(), 0.02)
    assert_close(torch.from_numpy(found), torchrays_blur(raw, 0.02 * 60))
    assert smoothed(raw.numpy(), 0).tolist() == raw.tolist()


def test_a_blob_beats_a_spike_once_smoothed() -> None:
    raw = dot(50, 40, value=2.0)
    raw[8:13, 8:13] = 1
    truth = box(8, 8, 13, 13)
    assert hit(raw, truth, tolerance=0) == 0
    assert hit(raw, truth, tolerance=0, smooth=0.02) == 1


def test_smoothing_leaves_unseen_pixels_unseen() -> None:
    raw = dot(20, 20)
    raw[:, 30:] = torch.nan
    found = smoothed(raw.numpy(), 0.05)
    assert np.array_equal(np.isnan(found), np.isnan(raw.numpy()))
    assert found[20, 20] == np.nanmax(found)


# Figures.


def test_figures_by_hand() -> None:
    """A cat hit, missed and half hit; a dog hit: 62.5 % of all, 75 % per class. Small: half a cat, and the dog."""
    values = np.array([[1, 0, 0], [0, 0, 0], [0.5, 1, 1], [1, 1, 0]])
    labels = ["cat", "cat", "cat", "dog"]
    assert percent(values, labels) == 62.5
    assert class_percent(values, labels) == 75
    assert small_among_others(values, labels) == 75
    assert small_among_others(values[[1, 3, 3, 2]], ["cat", "dog", "dog", "cat"]) == 75
    assert tied(values, labels) == 25
    assert math.isnan(small_among_others(values[:2], labels[:2]))


def test_a_trial_says_whether_it_tied() -> None:
    truth = box(10, 10, 40, 30)
    assert pointing(given(dot(20, 20), truth)) == (1, 0, 0)
    assert pointing(given(dot(20, 20) + dot(21, 20), truth)) == (1, 0, 1)


def test_small_among_others_takes_both() -> None:
    """A quarter of the picture is no longer small, and a second thing of the same class no other."""
    cat, dog = Truth("thing", ((0, 0, 30, 24),)), Truth("dog", ((0, 0, 5, 5),))

    class Several(Given):
        truths: tuple[Truth, ...] = ()

        @property
        def sample(self) -> Sample:
            return Sample("several", super().sample.picture, self.truths)

    trial = Several(dot(20, 20), cat, image=torch.zeros(3, 50, 60))
    for truths, box_, small in (
        ((cat, dog), (0, 0, 30, 24), 1), ((cat,), (0, 0, 30, 24), 0), ((cat, dog), (0, 0, 30, 25), 0),
        ((cat, cat), (0, 0, 30, 24), 0),
    ):  # fmt: skip
        trial.truths, trial.truth = truths, Truth("thing", (box_,))
        found = pointing(trial)
        assert found is not None
        assert found[1] == small


# Speed.


def test_costs_less_than_a_millisecond_where_the_maximum_is_unique() -> None:
    heat = np.random.default_rng(0).random((375, 500), dtype=np.float32)
    region = np.zeros(heat.shape, dtype=bool)
    region[100:200, 100:300] = True
    best = math.inf
    for _ in range(20):
        start = time.perf_counter()
        near(region, peaks(heat), 15)
        best = min(best, time.perf_counter() - start)
    assert best < 1e-3
