"""Maps of two other classes, and the parts that each has in common with the creature."""

from typing import Any

import pytest
import torch
from blocks import PLAIN, Blocks, blocks, counting, spread
from given import Given
from torch import Tensor

from sightline.datasets.anatomy import CLASSES
from sightline.errors import MetricError
from sightline.geometry import Framing
from sightline.metrics.target_sensitivity import rivals, target_sensitivity

HONEST = {
    "own": {},
    "near ab": {"a": 1.0, "b": 1.0},
    "near bc": {"b": 1.0, "c": 1.0},
    "near cd": {"c": 1.0, "d": 1.0},
    "far": {"a": 1.0},
}


def asked(maps: dict[int, Tensor], weights: Any = HONEST, **facts: Any) -> Given:
    return blocks(spread(), weights, method=lambda images, index: maps[index][None], **facts)


def test_the_first_two_classes_with_two_parts_each_not_the_same() -> None:
    assert rivals("own", PLAIN) == (("near ab", {"a", "b"}), ("near cd", {"c", "d"}))
    assert rivals("far", PLAIN) is None


def test_each_class_has_rivals() -> None:
    for label in CLASSES:
        found = rivals(label, CLASSES)
        assert found is not None
        for name, parts in found:
            assert {part for part in CLASSES[label] if CLASSES[label][part] == CLASSES[name][part]} == parts
            assert len(parts) == 2
        assert not found[0][1] & found[1][1]


@pytest.mark.parametrize(("of_ab", "of_cd", "expected"), [
    (spread(a=3), spread(d=1), 1),
    (spread(a=1, b=1, c=5), spread(a=1, c=4), 0.5),  # a and b get more, c and d don't
    (spread(a=1), spread(b=2, c=1), 0.5),
    (spread(c=1), spread(a=1), 0),
    (spread(a=1, c=1), spread(a=1, c=1), 0),  # equal isn't more
    (spread(a=1, e=9), spread(c=1, x=9), 1),  # what lies elsewhere doesn't count
    (spread(a=1, b=-9), spread(c=1), 1),  # nor what is below zero
])  # fmt: skip
def test_maps_of_two_classes_by_hand(of_ab: Tensor, of_cd: Tensor, expected: float) -> None:
    assert target_sensitivity(asked({1: of_ab, 3: of_cd})) == (expected,)


def test_what_is_below_zero_counts_where_signed() -> None:
    maps = {1: spread(a=1, b=-9), 3: spread(c=1)}
    assert target_sensitivity(asked(maps), signed=True) == (0.5,)


@pytest.mark.parametrize("weights", [
    HONEST | {"near ab": {"a": 1.0, "b": -1.0}},  # loses nothing without a and b
    HONEST | {"near cd": {"c": 1.0, "a": 1.0}},  # loses as much either way
    HONEST | {"near ab": {"c": 1.0}},
])  # fmt: skip
def test_a_model_that_does_not_tell_the_classes_apart_is_not_judged(weights: Any) -> None:
    assert target_sensitivity(asked({1: spread(a=1), 3: spread(c=1)}, weights)) is None


def test_an_empty_map_is_not_judged() -> None:
    assert target_sensitivity(asked({1: spread(a=1), 3: spread()})) is None
    assert target_sensitivity(asked({1: spread(a=-1), 3: spread(c=1)})) is None


class Cut(Given):
    @property
    def framing(self) -> Framing:
        return Framing.cropped((56, 8), (56, 8), (0, 0), (24, 8))  # the model sees a, b and c alone


def test_maps_lie_where_the_model_looked() -> None:
    maps = {1: spread(a=1)[:, :24], 3: spread(c=1)[:, :24]}
    trial = Cut(maps[1], label="own", parted=Blocks(), image=torch.zeros(3, 8, 56), module=counting(HONEST),
                method=lambda images, index: maps[index][None])  # fmt: skip
    assert target_sensitivity(trial) == (1,)
    maps[3] = spread(b=1)[:, :24]
    assert target_sensitivity(trial) == (0,)


def test_a_creature_that_lost_such_a_part_is_not_judged() -> None:
    maps = {1: spread(a=1), 3: spread(c=1)}
    assert target_sensitivity(asked(maps, parted=Blocks(lost="d"))) is None
    assert target_sensitivity(asked(maps, parted=Blocks(lost="e"))) == (1,)


def test_a_class_without_rivals_is_not_judged() -> None:
    far = {name: HONEST[name] for name in ("own", "near ab", "near bc", "near cd", "far")}
    assert target_sensitivity(asked({}, far, label="far", index=4)) is None


def test_classes_in_another_order_are_refused() -> None:
    with pytest.raises(MetricError, match="own is class 2 of the model and class 0 of toy; use a model"):
        target_sensitivity(asked({1: spread(a=1), 3: spread(c=1)}, index=2))


def test_maps_are_asked_at_the_models_index() -> None:
    order = ["near ab", "own", "far", "near bc", "near cd"]
    parted = Blocks(classes={name: PLAIN[name] for name in order})
    weights = {name: HONEST[name] for name in order}
    maps = {0: spread(a=1), 4: spread(c=1)}
    assert target_sensitivity(asked(maps, weights, label="own", index=1, parted=parted)) == (1,)
