"""Creatures: what a class is made of, and that taking a part away changes that part alone."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation

import sightline
from sightline.datasets.anatomy import BACK_TO_FRONT, CLASSES, PARTS, VARIANTS
from sightline.datasets.creatures import Creature, creatures, scene
from sightline.datasets.painting import dice
from sightline.errors import DataError
from sightline.trials import Known

WINDOW = np.ones((5, 5), dtype=bool)


@pytest.fixture(scope="module")
def scenes() -> list[Creature]:
    data = creatures(48)
    return [data.scene(place) for place in range(48)]


def pixels(creature: Creature, *gone: str) -> np.ndarray:
    return np.asarray(creature.without(gone)).astype(int)


def test_any_two_classes_differ_in_three_parts_or_more() -> None:
    assert len(CLASSES) == 16
    shared = Counter(
        sum(this[part] == that[part] for part in PARTS) for this, that in combinations(CLASSES.values(), 2)
    )
    assert max(shared) == 2
    assert shared[2] == 39


def test_each_variant_is_in_four_classes() -> None:
    for part, variants in VARIANTS.items():
        assert Counter(made[part] for made in CLASSES.values()) == dict.fromkeys(variants, 4)
    assert {*PARTS, "body"} == {*BACK_TO_FRONT}


def test_without_a_part_nothing_else_changes(scenes: list[Creature]) -> None:
    for creature in scenes:
        whole = pixels(creature)
        for part, mask in creature.parts.items():
            changed = (pixels(creature, part) != whole).any(2)
            assert not (changed & ~mask).any()
            assert changed.sum() > 0.9 * mask.sum()  # the rest are slivers at its rim


def test_without_several_parts_each_is_gone_as_if_alone(scenes: list[Creature]) -> None:
    for creature in scenes[:8]:
        both = pixels(creature, "wing", "beak")
        for part, other in (("wing", "beak"), ("beak", "wing")):
            mask = creature.parts[part] & ~creature.parts[other]
            assert (both[mask] == pixels(creature, part)[mask]).all()


def test_without_all_parts_a_body_is_left_and_without_all_things_a_creature(scenes: list[Creature]) -> None:
    for creature in scenes[:8]:
        bare = pixels(creature, *creature.parts)
        whole = pixels(creature)
        assert (bare != whole).any(2).sum() > 500
        assert (pixels(creature, *creature.background) == whole).all(2)[~np.any(
            [creature.parts[thing] for thing in creature.background], axis=0)].all()  # fmt: skip


def test_parts_are_seen_and_lie_apart(scenes: list[Creature]) -> None:
    for creature in scenes:
        grown = {name: binary_dilation(mask, WINDOW) for name, mask in creature.parts.items()}
        for part in PARTS:
            assert creature.parts[part].sum() >= 60
        met = sum((grown[one] & grown[two]).sum() for one, two in combinations(grown, 2))
        assert met <= 0.02 * sum(mask.sum() for mask in grown.values())


def test_things_lie_around_and_are_named(scenes: list[Creature]) -> None:
    assert {len(creature.background) for creature in scenes} == {2, 3, 4, 5}
    for creature in scenes:
        assert list(creature.parts) == [*PARTS, *(f"thing {k + 1}" for k in range(len(creature.background)))]
        for thing in creature.background:
            assert creature.parts[thing].sum() >= 20


def test_colours_of_parts_are_colours_of_things_too(scenes: list[Creature]) -> None:
    things = {layer.colour for creature in scenes for layer in creature.layers if layer.of in creature.background}
    for part in PARTS:
        assert things & {layer.colour for creature in scenes for layer in creature.layers if layer.of == part}


def test_a_sample_is_the_scene_with_its_truth() -> None:
    data = creatures(4, seed=3)
    sample, creature = data[2], data.scene(2)
    assert (sample.name, sample.picture.size) == ("creatures-test-0002", (96, 96))
    assert (np.asarray(sample.picture) == pixels(creature)).all()
    (truth,) = sample.truths
    assert truth.label == creature.label
    union = np.any([creature.parts[part] for part in PARTS], axis=0)
    assert truth.mask is not None
    assert (truth.mask == union).all()
    ys, xs = np.nonzero(union)
    assert truth.boxes == ((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1),)
    assert sample.parted is not None
    assert list(sample.parted.parts) == list(creature.parts)
    assert sample.parted.classes is CLASSES


def test_a_picture_is_the_same_whichever_others_are_drawn() -> None:
    first = [np.asarray(each.picture) for each in map(creatures(5).__getitem__, range(5))]
    again = creatures(20)
    for place in (4, 0, 2):
        assert (np.asarray(again[place].picture) == first[place]).all()
    for other in (creatures(5, seed=1), creatures(5, split="val"), creatures(5, split="train")):
        assert (other.scene(0).ground != again.scene(0).ground).any()
    assert (first[0] != first[1]).any()


def test_each_sixteen_pictures_show_each_class_once() -> None:
    data = creatures(48)
    labels = [data.scene(place).label for place in range(48)]
    for start in (0, 16, 32):
        assert sorted(labels[start : start + 16]) == sorted(CLASSES)
    assert labels[:16] != labels[16:32]


def left(split: str, count: int) -> Counter[int]:
    """How many creatures have how many parts."""
    data = creatures(count, split=split)
    return Counter(len({layer.of for layer in data.scene(place).layers} & set(PARTS)) for place in range(count))


def test_in_training_half_of_the_creatures_lost_some_parts() -> None:
    counts = left("train", 400)
    assert 170 <= counts[5] <= 230
    assert all(20 <= counts[some] <= 65 for some in range(5))  # one to five lost, each as often
    for split in ("val", "test"):
        assert left(split, 48) == {5: 48}


def test_what_a_creature_lost_is_not_there() -> None:
    for seed in range(40):
        creature = scene(dice(seed), 96, "alvo", losses=1)
        lost = set(PARTS) - set(creature.parts)
        assert lost
        with pytest.raises(DataError, match=f"no part '{min(lost)}' in this picture; it has "):
            creature.without([min(lost)])
    data = creatures(400, split="train")
    bare = next(place for place in range(400) if not set(data.scene(place).parts) & set(PARTS))
    (truth,) = data[bare].truths
    assert truth.boxes == ()
    assert truth.mask is not None
    assert not truth.mask.any()


def test_creatures_look_both_ways(scenes: list[Creature]) -> None:
    ways = Counter(
        np.nonzero(creature.parts["beak"])[1].mean() > np.nonzero(creature.parts["tail"])[1].mean()
        for creature in scenes
    )
    assert min(ways[True], ways[False]) >= 12


def test_all_of_a_creature_is_in_sight(scenes: list[Creature]) -> None:
    for creature in scenes:
        corners = np.vstack([layer.outline for layer in creature.layers])
        assert corners.min() >= 0
        assert corners.max() <= 96


def test_other_sizes_are_the_same_picture_finer() -> None:
    small, large = creatures(1), creatures(1, size=192)
    assert large[0].picture.size == (192, 192)
    assert large.scene(0).label == small.scene(0).label
    share = [data.scene(0).parts["wing"].mean() for data in (small, large)]
    assert share[0] == pytest.approx(share[1], rel=0.25)


def test_the_data_set_says_what_it_knows() -> None:
    data = creatures(3, seed=7, split="val")
    assert data.name == "scenes:creatures:split=val:seed=7:size=96"
    assert data.knows == {Known.MASKS, Known.BOXES, Known.PARTS}
    assert (len(data), list(data.names), data.problems) == (3, [f"creatures-val-000{k}" for k in range(3)], ())
    for place in (-1, 3):
        with pytest.raises(IndexError, match=f"has 3 pictures, none at {place}"):
            data[place]


def test_what_cannot_be_drawn_is_refused() -> None:
    for options, said in (({"count": 0}, "count=0"), ({"split": "all"}, "'all'"), ({"size": 63}, "size=63")):
        with pytest.raises(DataError, match=f"creatures .*{said}"):
            creatures(**options)  # type: ignore[arg-type]
    creatures(1, size=64)[0]


def test_taking_away_twice_draws_once(scenes: list[Creature]) -> None:
    creature = scenes[0]
    assert creature.without(["wing", "eye"]) is creature.without(["eye", "wing"])


def test_the_embedded_net_knows_creatures_by_their_parts() -> None:
    model = sightline.load("creatures", device="cpu")
    assert list(model.labels.names) == list(CLASSES)
    data = creatures(128, seed=9)
    found = [data.scene(place) for place in range(128)]
    labels = torch.tensor([list(CLASSES).index(each.label) for each in found])

    def right(*gone: str) -> float:
        images = torch.stack([model.preprocess(each.without(gone)) for each in found])
        with torch.inference_mode():
            return float((model.module.eval()(images).argmax(1) == labels).float().mean())

    assert right() > 0.95
    assert right(*PARTS) < 0.2
    for part in PARTS:
        assert right(part) > 0.8  # three parts tell a class
