"""Parts in the order in which the model misses them."""

import itertools

import numpy as np
import pytest
import torch
from blocks import PARTS, Blocks, blocks, spread
from scipy.stats import spearmanr

from sightline.metrics.single_deletion import single_deletion, tied_parts

FALLING = {"own": dict(zip(PARTS, (5.0, 4.0, 3.0, 2.0, 1.0), strict=True)), "far": {}}


def test_the_models_own_order_is_best_and_its_reverse_worst() -> None:
    assert single_deletion(blocks(spread(a=9, b=7, c=5, d=2, e=1), FALLING)) == (1, 0)
    found = single_deletion(blocks(spread(a=1, b=2, c=5, d=7, e=9), FALLING))
    assert found == (pytest.approx(0), 0)


def test_over_all_orders_the_mean_is_a_half() -> None:
    found = [
        single_deletion(blocks(spread(**dict(zip(PARTS, order, strict=True))), FALLING))
        for order in itertools.permutations((1, 2, 3, 4, 5))
    ]
    assert np.mean([each[0] for each in found if each]) == pytest.approx(0.5)


def test_ties_share_their_rank_and_are_told() -> None:
    found = single_deletion(blocks(spread(a=2, b=2, d=1), FALLING))
    # ranks 4.5, 4.5, 1.5, 3, 1.5 against 5, 4, 3, 2, 1: covariance 7.5, variances 9 and 10
    assert found == (pytest.approx((7.5 / 90**0.5 + 1) / 2), 1)
    expected = spearmanr([2, 2, 0, 1, 0], [5, 4, 3, 2, 1]).statistic
    assert found[0] == pytest.approx((expected + 1) / 2)
    assert tied_parts(np.array([[0.5, 1], [0.2, 0], [1, 0], [0, 1]]), ["own"] * 4) == 0.5


def test_a_part_that_speaks_against_the_class_belongs_last() -> None:
    against = {"own": {"a": 2.0, "b": 1.0, "c": 0.5, "d": 0.25, "e": -3.0}, "far": {}}
    assert single_deletion(blocks(spread(a=5, b=4, c=3, d=2, e=1), against)) == (1, 0)
    assert single_deletion(blocks(spread(a=5, b=4, c=3, d=2, e=6), against)) == (0.5, 0)


def test_things_around_do_not_count() -> None:
    trial = blocks(spread(a=9, b=7, c=5, d=2, e=1, x=100), FALLING)
    assert single_deletion(trial) == (1, 0)
    assert not any("x" in gone for gone in trial.parted.asked)


def test_what_is_below_zero_counts_where_signed() -> None:
    raw = spread(a=5, b=4, c=3, d=-1, e=-2)
    assert single_deletion(blocks(raw, FALLING), signed=True) == (1, 0)
    found = single_deletion(blocks(raw, FALLING))
    assert found is not None
    assert found[0] < 1
    assert found[1] == 1


def test_it_is_asked_of_the_class_of_the_map() -> None:
    weights = {"far": dict(zip(PARTS, (1.0, 2.0, 3.0, 4.0, 5.0), strict=True)), "own": FALLING["own"]}
    raw = spread(a=5, b=4, c=3, d=2, e=1)
    assert single_deletion(blocks(raw, weights, label="own", index=1)) == (1, 0)
    assert single_deletion(blocks(raw, weights)) == (0, 0)


def test_lost_parts_are_not_asked_about() -> None:
    assert single_deletion(blocks(spread(a=2, b=1), FALLING, parted=Blocks(lost="cde"))) == (pytest.approx(1), 0)
    assert single_deletion(blocks(spread(a=2), FALLING, parted=Blocks(lost="bcde"))) is None


@pytest.mark.parametrize(
    "raw", [torch.zeros(8, 56), torch.ones(8, 56), -torch.ones(8, 56), torch.full((8, 56), torch.nan)]
)
def test_equal_parts_have_no_order(raw: torch.Tensor) -> None:
    assert single_deletion(blocks(raw, FALLING)) is None


def test_parts_equally_missed_have_no_order() -> None:
    assert single_deletion(blocks(spread(a=2, b=1), {"own": dict.fromkeys(PARTS, 1.0), "far": {}})) is None


def test_places_not_seen_give_nothing() -> None:
    raw = spread(a=9, b=7, c=5, d=2, e=1)
    raw[:2] = torch.nan
    assert single_deletion(blocks(raw, FALLING)) == (1, 0)
