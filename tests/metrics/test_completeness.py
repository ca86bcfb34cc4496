"""The four questions about the parts that a map calls important, and the threshold that they share."""

from typing import Any

import numpy as np
import pytest
import torch
from blocks import PARTS, PLAIN, THINGS, Blocks, blocks, spread
from torch import Tensor

from sightline.errors import MetricError
from sightline.metrics.completeness import at_shared, at_tenth, completeness, highest, over_thresholds, shared_threshold
from sightline.metrics.controlled_synthetic import controlled_synthetic
from sightline.metrics.deletion_check import deletion_check
from sightline.metrics.distractibility import distractibility
from sightline.metrics.part_importance import THRESHOLDS
from sightline.metrics.preservation_check import preservation_check

RULES = (controlled_synthetic, preservation_check, deletion_check, distractibility)
# "own" leads by 4 as a whole; it needs a or b, and a little of c
WEIGHTS: dict[str, Any] = {"own": {"a": 4.0, "b": 3.0, "c": 1.0, "x": -1.0}, "far": {"d": 3.0}}
DATA: dict[str, Any] = {
    "own": {"a": "1", "b": "1", "c": "1"},
    "near": {"a": "1", "b": "2", "c": "1"},
    "other": {"a": "2", "b": "1", "c": "2"},
}  # smallest sets: ab, bc


def of(raw: Tensor, weights: Any = WEIGHTS, **facts: Any) -> Any:
    return blocks(raw, weights, **({"parted": Blocks(classes=DATA)} | facts))


def at(rule: Any, trial: Any, place: int = 0, **options: Any) -> float:
    found = rule(trial, **options)
    assert len(found) == 160
    assert isinstance(found, list)
    return float(found[place])


def test_by_hand() -> None:
    """Logits: whole 7 against 3; without a 3 against 3 (the first of equals); without b 4, c 6, d 7 against 0."""
    raw = spread(a=60, b=30, e=10)  # important: a, b, e below t = 0.1; a, b up to 0.3; a up to the end
    trial = of(raw)
    below, middle, last = 0, 30, 79
    assert [THRESHOLDS[place] > bound for place, bound in ((middle, 0.1), (last, 0.3))] == [True, True]
    # ab is whole where a and b are important; a alone is half of it
    assert [at(controlled_synthetic, trial, place) for place in (below, middle, last)] == [1, 1, 0.5]
    # without the rest: a b e -> 8 against 0; a b -> 8 against 0; a -> 3 (with x) against 0
    assert [at(preservation_check, trial, place) for place in (below, middle, last)] == [1, 1, 1]
    # without a b e: 0 against 3; without a b: 0 against 3; without a: 3 against 3, still the first
    assert [at(deletion_check, trial, place) for place in (below, middle, last)] == [1, 1, 0]
    # 5 % of 7: d, e, y spare, x too, which speaks against; c isn't
    assert [at(distractibility, trial, place) for place in (below, middle, last)] == [0.75, 1, 1]
    found = completeness(trial)
    assert found is not None
    assert [found[place] for place in (below, middle, last)] == [0.875, 1, pytest.approx((1.5 / 3 + 1) / 2)]
    for rule in RULES:
        assert rule(trial)[80:] == found


def test_things_around_distract_but_are_never_taken_with_the_parts() -> None:
    trial = of(spread(a=50, x=50))
    assert at(distractibility, trial) == 0.75
    assert at(preservation_check, trial) == 1  # without b c d e, but with x: 3 against 0
    alone = {gone for gone in trial.parted.asked if len(gone) == 1}
    assert {frozenset("x"), frozenset("y")} <= alone
    assert not any(gone & set(THINGS) for gone in trial.parted.asked if len(gone) > 1)


def slow(trial: Any, signed: bool) -> dict[str, list[float]]:
    """All four in plain loops, from the definitions."""
    heat, parted = trial.heat, trial.parted
    heat = heat if signed else np.where(heat > 0, heat, 0)
    got = {}
    for name, mask in parted.parts.items():
        near = {
            (y + dy, x + dx) for y, x in np.argwhere(mask) for dy in range(-2, 3) for dx in range(-2, 3)
            if 0 <= y + dy < heat.shape[0] and 0 <= x + dx < heat.shape[1]
        }  # fmt: skip
        got[name] = sum(float(heat[place]) for place in near)
    total = float(heat.astype(np.float64).sum())

    def logits(gone: Any) -> Tensor:
        return trial.logits(trial.see([parted.without(list(gone))]))[0]

    whole = float(logits([])[trial.index])
    spare = [name for name in parted.parts if whole - float(logits([name])[trial.index]) < 0.05 * abs(whole)]
    sets = [{"a", "b"}, {"b", "c"}]
    found: dict[str, list[float]] = {rule.__name__: [] for rule in RULES}
    for k in range(80):
        t = 0.01 + k * 0.49 / 79
        called = [name for name in parted.parts if got[name] > t * total]
        own = [name for name in called if name in PARTS]
        found["controlled_synthetic"].append(max(len([p for p in each if p in called]) / len(each) for each in sets))
        kept = logits([name for name in PARTS if name not in own])
        found["preservation_check"].append(float(kept.argmax() == trial.index))
        found["deletion_check"].append(float(logits(own).argmax() != trial.index))
        found["distractibility"].append(1 - len([p for p in spare if p in called]) / len(spare))
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("signed", [False, True])
def test_of_random_maps_it_is_what_plain_loops_give(seed: int, signed: bool) -> None:
    draw = torch.Generator().manual_seed(seed)
    raw = torch.randn(8, 56, generator=draw) + 0.2
    raw[3:5] += 3 * torch.rand(2, 56, generator=draw)
    weights = {
        label: dict(zip((*PARTS, *THINGS), torch.randn(7, generator=draw).tolist(), strict=True)) for label in DATA
    }
    weights["own"] = {name: abs(weight) + 0.5 for name, weight in weights["own"].items()} | {"e": 0.01}
    expected = slow(of(raw, weights), signed)
    for rule in RULES:
        assert rule(of(raw, weights), signed=signed)[:80] == pytest.approx(expected[rule.__name__])
    parts = [np.array(expected[rule.__name__]) for rule in RULES]
    assert completeness(of(raw, weights), signed=signed) == pytest.approx((sum(parts[:3]) / 3 + parts[3]) / 2)


@pytest.mark.parametrize(("weight", "expected"), [(0.5, 1), (0.4999, 0.8)])
def test_what_is_just_relevant_and_what_just_is_not(weight: float, expected: float) -> None:
    trial = of(spread(c=1), {"own": {"a": 9.0, "b": 0.5, "c": weight}, "far": {}})  # 5 % of 10
    assert at(distractibility, trial) == expected


def test_a_negative_logit_has_a_size() -> None:
    weights = {"own": {"a": 5.0, "b": 5.0, "c": 0.2}, "far": {}}
    trial = of(spread(c=1), weights)
    trial.module = (lambda inner: lambda images: inner(images) + torch.tensor([-15.0, -30.0]))(trial.module)
    assert at(distractibility, trial) == 0.8  # c is worth 0.2 of 4.8, 4 %


def test_a_class_that_is_not_predicted_is_not_judged() -> None:
    losing = {"own": {"a": 1.0}, "far": {"d": 2.0}}
    assert all(rule(of(spread(a=1), losing)) is None for rule in (*RULES, completeness))


def test_a_class_that_no_parts_tell_is_not_judged() -> None:
    twins = Blocks(classes={"own": {"a": "1"}, "twin": {"a": "1"}})
    assert all(rule(of(spread(a=1), parted=twins)) is None for rule in (*RULES, completeness))


def test_where_everything_is_relevant_there_is_no_distraction() -> None:
    all_of_it = {"own": dict.fromkeys((*PARTS, *THINGS), 1.0), "far": {}}
    assert distractibility(of(spread(a=1), all_of_it)) is None


@pytest.mark.parametrize("raw", [torch.zeros(8, 56), -torch.ones(8, 56), torch.full((8, 56), torch.nan)])
def test_a_map_without_evidence_is_not_judged(raw: Tensor) -> None:
    assert all(rule(of(raw)) is None for rule in (*RULES, completeness))


def test_an_even_map_calls_parts_important_by_their_size() -> None:
    found = completeness(of(torch.ones(8, 56)))  # 36 of 448 pixels each: important below 8 %
    assert found == [0.5] * 80
    assert at(deletion_check, of(torch.ones(8, 56))) == 1
    assert at(preservation_check, of(torch.ones(8, 56)), 79) == 0
    assert at(distractibility, of(torch.ones(8, 56))) == 0


def test_places_not_seen_change_nothing_elsewhere() -> None:
    raw = spread(a=60, b=30, e=10)
    raw[:, -3:] = torch.nan
    assert completeness(of(raw)) == completeness(of(spread(a=60, b=30, e=10)))


def test_each_picture_is_asked_for_once() -> None:
    trial = of(spread(a=60, b=30, e=10))
    preservation_check(trial)
    assert len(set(trial.parted.asked)) == len(trial.parted.asked)


def test_a_data_set_that_says_nothing_of_its_classes_is_refused() -> None:
    with pytest.raises(MetricError, match="doesn't say what 'own' is made of"):
        deletion_check(of(spread(a=1), parted=Blocks(classes={"far": PLAIN["far"]})))


def values(*rows: tuple[float, float, float, float]) -> Any:
    """Trials with these numbers at the first and the other thresholds, and this completeness there."""
    return np.array([[a, *[b] * 79, c, *[d] * 79] for a, b, c, d in rows])


def test_the_threshold_is_where_completeness_is_highest_over_the_data_set() -> None:
    found = values((1.0, 0.0, 0.2, 0.3), (0.8, 0.4, 0.6, 0.4))  # completeness 0.4 against 0.35
    assert at_shared(found, ["own", "own"]) == pytest.approx(0.9)
    assert shared_threshold(found, ["own", "own"]) == 0.01
    found = values((1.0, 0.0, 0.2, 0.7), (0.8, 0.4, 0.6, 0.4))  # 0.4 against 0.55
    assert at_shared(found, ["own", "own"]) == pytest.approx(0.2)
    assert shared_threshold(found, ["own", "own"]) == THRESHOLDS[1]  # the lowest of equals
    assert highest(found[:, 80:], ["own", "own"]) == pytest.approx(0.55)
    assert shared_threshold(found[:, 80:], ["own", "own"]) == THRESHOLDS[1]


def test_figures_beside_it() -> None:
    own = np.arange(80) / 80
    found = np.array([[*own, *np.zeros(80)], [*own + 1, *np.zeros(80)]])
    rows = over_thresholds(found, ["own", "own"])
    assert rows.shape == (80, 2)
    assert rows[:, 0] == pytest.approx(THRESHOLDS)
    assert rows[:, 1] == pytest.approx(own + 0.5)
    place = int(abs(THRESHOLDS - 0.1).argmin())
    assert abs(THRESHOLDS[place] - 0.1) < 0.0032
    assert at_tenth(found, ["own", "own"]) == pytest.approx(own[place] + 0.5)


def test_one_question_alone_is_answered_best_by_a_map_that_says_nothing() -> None:
    """Why the threshold is shared: at the lowest an even map gets 1 in three questions, at the last in the fourth."""
    even = torch.ones(8, 56)
    for rule in RULES[:3]:
        assert max(rule(of(even))[:80]) == 1
    assert max(distractibility(of(even))[:80]) == 1
    assert max(completeness(of(even))) == 0.5
    assert max(completeness(of(spread(a=60, b=30, c=10)))) == 1
