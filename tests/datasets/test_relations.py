"""Relations: masks exact to the pixel, all that is said true of the masks, answers that the words don't give away."""

import pickle
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest

from sightline.datasets import open_data
from sightline.datasets.phrases import KINDS, caption, questions
from sightline.datasets.relations import COLOURS, SHAPES, TEXTURES, Arrangement, arrangement, relations
from sightline.errors import DataError

MANY = [arrangement(place) for place in range(300)]
TWO_OR_MORE = [each for each in MANY if len(each.items) > 1]


def centre(each: Arrangement, shape: str) -> np.ndarray:
    """A shape's place (x, y) by its mask alone."""
    rows, columns = np.nonzero(each.painting.mask(shape))
    return np.array([columns.mean(), rows.mean()])


def lies(each: Arrangement, shape: str, relation: str, to: str) -> bool:
    right, down = centre(each, shape) - centre(each, to)
    if abs(right) > abs(down):
        return relation == ("right of" if right > 0 else "left of")
    return relation == ("below" if down > 0 else "above")


def test_masks_are_the_pixels_that_change_and_none_hides_another() -> None:
    data = relations(count=20)
    for place, sample in enumerate(data):
        painting = arrangement(place).painting
        whole = np.asarray(sample.picture).astype(int)
        assert [truth.label for truth in sample.truths] == [item.shape for item in arrangement(place).items]
        covered = np.zeros((96, 96), dtype=int)
        for truth, thing in zip(sample.truths, painting.things, strict=True):
            left = np.asarray(painting.picture([thing.name])).astype(int)
            assert ((whole != left).any(2) == truth.mask).all()
            assert (truth.mask == (thing.cover > 0)).mean() > 0.999  # dark stripes too stand out from the ground
            covered += thing.cover > 0
        assert covered.max() <= 1
        assert (whole == np.asarray(painting.picture([t.name for t in painting.things])))[covered == 0].all()


def test_colours_and_textures_are_those_that_are_named() -> None:
    """A shape's bright pixels are near its colour; plain ones are of one tone, the others of it and a darker one."""
    for each in MANY[:60]:
        pixels = np.asarray(each.painting.picture()) / 255
        for item, thing in zip(each.items, each.painting.things, strict=True):
            own = pixels[thing.cover == 1]
            bright = own[own.max(1) > 0.8 * own.max()]
            nearest = min(COLOURS, key=lambda name: abs(bright.mean(0) - COLOURS[name]).sum())
            assert nearest == item.colour
            dark = (own.max(1) < 0.5 * own.max()).mean()
            assert dark == 0 if item.texture == "plain" else 0.2 < dark < 0.65


def test_sizes_come_largest_first_and_differ() -> None:
    for each in TWO_OR_MORE:
        radii = [item.radius for item in each.items]
        assert all(one > 1.15 * other for one, other in pairwise(radii))


def test_kinds_colours_and_textures_come_alike_and_a_picture_has_none_twice() -> None:
    items = [item for each in MANY for item in each.items]
    for names, read in ((SHAPES, "shape"), (COLOURS, "colour"), (TEXTURES, "texture")):
        counts = Counter(getattr(item, read) for item in items)
        assert set(counts) == set(names)
        assert min(counts.values()) > 0.7 * max(counts.values())
    for each in MANY:
        assert len({item.shape for item in each.items}) == len({item.colour for item in each.items}) == len(each.items)
    assert min(Counter(len(each.items) for each in MANY).values()) > 75


def test_a_caption_is_true_of_the_masks() -> None:
    relation_words = Counter()
    for each in MANY:
        said = caption(each)
        assert len(said.words) == len(said.about)
        first, *others = each.items
        areas = {item.shape: each.painting.mask(item.shape).sum() for item in each.items}
        for word, about in zip(said.words, said.about, strict=True):
            for shape in about:
                assert areas[shape] > 0
            if word in COLOURS or word in TEXTURES or word in SHAPES:
                (shape,) = about
                item = each.item(shape)
                assert word in (item.colour, item.texture, item.shape)
            elif word in ("a", "of"):
                assert not about
            else:
                assert about == (first.shape, others[0].shape)
                relation = f"{word} of" if word in ("left", "right") else word
                assert lies(each, about[0], relation, about[1])
                relation_words[word] += 1
        assert str(said).startswith(f"a {first.colour}")
        assert ("plain" in str(said)) is False
    assert min(relation_words.values()) > 0.6 * max(relation_words.values())  # not told by the words around it
    assert set(relation_words) == {"left", "right", "above", "below"}


def test_answers_are_true_of_the_masks() -> None:
    for each in MANY[:150]:
        every = {item.shape: item for item in each.items}
        for asked in questions(each):
            words = asked.text.rstrip("?").split()
            match asked.kind:
                case "colour" | "texture":
                    (shape,) = asked.about
                    assert words[-1] == shape
                    assert asked.answer == getattr(every[shape], asked.kind)
                case "shape":
                    assert every[asked.answer].colour == words[-2]
                    assert asked.about == (asked.answer,)
                case "neighbour":
                    where, (colour, to) = " ".join(words[2:-3]), words[-2:]
                    assert every[to].colour == colour
                    assert [shape for shape in every if shape != to and lies(each, shape, where, to)] == [asked.answer]
                case "presence":
                    there = words[-1] in every and every[words[-1]].colour == words[-2]
                    assert asked.answer == ("yes" if there else "no")
                    assert asked.about == ((words[-1],) if there else ())
                case _:
                    assert asked.answer == str(len(every))
                    assert asked.about == tuple(every)


def test_the_words_of_a_question_dont_give_its_answer_away() -> None:
    """The best guess from the words alone, learned on other pictures, is hardly better than guessing without them."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for place in range(1200):
        for asked in questions(arrangement(place, "train")):
            seen[asked.text][asked.answer] += 1
    right: dict[str, list[bool]] = defaultdict(list)
    for each in MANY:
        for nth in range(3):
            for asked in questions(each, nth):
                guess = seen[asked.text].most_common(1)
                right[asked.kind].append(bool(guess) and guess[0][0] == asked.answer)
    assert set(right) == set(KINDS)
    even = {
        "colour": 1 / 6, "shape": 1 / 5, "texture": 1 / 3, "neighbour": 1 / 4, "presence": 1 / 2,
        "number": 1 / 3,
    }  # fmt: skip
    for kind, hits in right.items():
        assert np.mean(hits) == pytest.approx(even[kind], abs=0.09), kind


def test_all_depends_on_set_split_seed_and_place_alone() -> None:
    few, many = relations(count=3), relations(count=50)
    for one, other in ((few[2], many[2]), (many[2], pickle.loads(pickle.dumps(many))[2])):
        assert one.name == other.name == "relations-test-0002"
        assert (np.asarray(one.picture) == np.asarray(other.picture)).all()
    each = arrangement(7)
    assert caption(each) == caption(arrangement(7))
    assert questions(each) == questions(arrangement(7)) != questions(each, 1)
    pictures = {
        np.asarray(data[0].picture).tobytes()
        for data in (few, relations(seed=1), relations(split="train"), relations(split="val"))
    }
    assert len(pictures) == 4


def test_it_is_a_data_set_with_options() -> None:
    data = open_data("scenes:relations:count=4:size=128:objects=3")
    assert data.name == "scenes:relations:split=test:seed=0:size=128:objects=(3,3)"
    assert data[0].picture.size == (128, 128)
    assert {len(sample.truths) for sample in data} == {3}
    for sample in data:
        for truth in sample.truths:
            ((x0, y0, x1, y1),) = truth.boxes
            rows, columns = np.nonzero(truth.mask)
            assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "one picture or more"),
        ({"split": "tset"}, "no split 'tset'; choose train, val, test"),
        ({"size": 40}, "expected 80 or more"),
        ({"objects": 4}, "1 to 3 objects"),
        ({"objects": (2, 1)}, "1 to 3 objects"),
    ],
)
def test_what_cant_be_drawn_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        relations(**options)
