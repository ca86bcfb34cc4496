"""What a trial tells of its creature: parts, classes, and the model's answers without some parts."""

from itertools import combinations

import pytest
import torch
from blocks import PARTS, PLAIN, Blocks, blocks, spread

from sightline.datasets.anatomy import CLASSES
from sightline.errors import MetricError
from sightline.metrics.creature import classes, creature, logits_without, own_parts, shared, sufficient

WEIGHTS = {"own": dict(zip((*PARTS, "x"), (5.0, 4.0, 3.0, 2.0, 1.0, 0.5), strict=True)), "far": {}}


def test_parts_of_the_creature_are_told_from_those_around() -> None:
    assert own_parts(creature(blocks(spread(), WEIGHTS))) == list(PARTS)


def test_logits_are_of_the_picture_without_each_set() -> None:
    trial = blocks(spread(), WEIGHTS)
    found = logits_without(trial, [[], ["a"], ["e", "b"], {"b", "e"}, ["x"]])
    assert {gone: logits[0].item() for gone, logits in found.items()} == {
        frozenset(): 15.5,
        frozenset("a"): 10.5,
        frozenset("be"): 10.5,
        frozenset("x"): 15,
    }
    assert trial.parted.asked == [frozenset(), frozenset("a"), frozenset("be"), frozenset("x")]  # each once


def test_all_sets_are_asked_in_one_go() -> None:
    trial = blocks(spread(), WEIGHTS)
    asked = []
    inner = trial.module
    trial.module = lambda images: (asked.append(len(images)), inner(images))[1]
    logits_without(trial, [[], ["a"], ["b"]])
    assert asked == [3]


def test_variants_that_two_classes_share() -> None:
    assert shared(PLAIN["own"], PLAIN["near bc"]) == {"b", "c"}
    assert shared(PLAIN["near ab"], PLAIN["near bc"]) == {"b"}
    assert shared(PLAIN["own"], {"a": "1"}) == {"a"}


def test_the_smallest_sets_that_tell_a_class() -> None:
    known = {"this": {"a": "1", "b": "1", "c": "1"}, "that": {"a": "1", "b": "2", "c": "1"},
             "other": {"a": "2", "b": "1", "c": "1"}}  # fmt: skip
    assert sufficient("this", known) == [frozenset("ab")]
    assert sufficient("that", known) == [frozenset("b")]
    assert sufficient("other", known) == [frozenset("a")]
    assert sufficient("alone", {"alone": {"a": "1", "b": "1"}}) == [frozenset("a"), frozenset("b")]
    assert sufficient(
        "both", {"both": {"a": "1", "b": "1"}, "one": {"a": "1", "b": "2"}, "two": {"a": "2", "b": "1"}}
    ) == [frozenset("ab")]
    assert sufficient("twin", {"twin": {"a": "1"}, "double": {"a": "1"}}) == []


@pytest.mark.parametrize("label", CLASSES)
def test_the_smallest_sets_of_real_creatures(label: str) -> None:
    own = set(CLASSES[label].items())
    others = [set(parts.items()) for name, parts in CLASSES.items() if name != label]
    telling = [
        {part for part, _ in chosen}
        for count in range(1, 6)
        for chosen in combinations(own, count)
        if not any(set(chosen) <= other for other in others)
    ]
    smallest = [each for each in telling if not any(other < each for other in telling)]
    assert {frozenset(each) for each in smallest} == set(sufficient(label, CLASSES))
    assert all(len(each) in (1, 2, 3) for each in smallest)


def test_pictures_that_tell_too_little_are_refused() -> None:
    trial = blocks(torch.zeros(8, 56), WEIGHTS, parted=None)
    with pytest.raises(MetricError, match="toy has no parts that can be taken away; use scenes:creatures"):
        creature(trial)
    parted = Blocks()
    del parted.classes
    with pytest.raises(MetricError, match="toy doesn't say what 'own' is made of"):
        classes(blocks(torch.zeros(8, 56), WEIGHTS, parted=parted))
    with pytest.raises(MetricError, match="toy doesn't say what 'strange' is made of"):
        classes(blocks(torch.zeros(8, 56), WEIGHTS, label="strange"))
