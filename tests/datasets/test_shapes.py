"""Shapes: masks exact to the pixel, classes balanced, nothing but the class tells the class, each picture alone."""

import pickle
from collections import Counter

import numpy as np
import pytest

from sightline.datasets.difull import difull
from sightline.datasets.grid import grid, tiled
from sightline.datasets.listed import Listed
from sightline.datasets.painting import Painting, Thing, dice
from sightline.datasets.shapes import CLASSES, FILLED, FRAMES, SIZES, scene, shapes, with_object
from sightline.datasets.shortcut import shortcut
from sightline.errors import DataError
from sightline.trials import Known


def test_masks_are_the_pixels_that_change_when_an_object_is_taken_away() -> None:
    for place in range(30):
        painting, sample = scene(place), shapes(count=30)[place]
        whole = np.asarray(sample.picture).astype(int)
        assert [truth.label for truth in sample.truths] == [thing.name for thing in painting.things]
        for truth, thing in zip(sample.truths, painting.things):
            left = np.asarray(painting.picture([truth.label])).astype(int)
            assert ((whole != left).any(2) == truth.mask).all()
            assert truth.mask is not None
            assert not truth.mask[thing.cover == 0].any()  # nothing outside the outline
        last = painting.things[-1]  # nothing lies over it: all that it covers is seen
        assert (sample.truths[-1].mask == (last.cover > 0)).mean() > 0.999
        empty = np.asarray(painting.picture([thing.name for thing in painting.things])).astype(int)
        union = np.any([truth.mask for truth in sample.truths], axis=0)
        assert not (whole != empty).any(2)[~union].any()


def test_boxes_are_tight_around_the_masks() -> None:
    for sample in shapes(count=12):
        for truth in sample.truths:
            ((x0, y0, x1, y1),) = truth.boxes
            rows, columns = np.nonzero(truth.mask)
            assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_a_picture_depends_on_set_split_seed_and_place_alone() -> None:
    few, many = shapes(count=3), shapes(count=50)
    later = many[2]
    _ = many[0]
    for one, other in ((few[2], later), (many[2], later)):
        assert one.name == other.name == "shapes-test-0002"
        assert (np.asarray(one.picture) == np.asarray(other.picture)).all()
        assert [t.label for t in one.truths] == [t.label for t in other.truths]
    pixels = {
        np.asarray(data[place].picture).tobytes()
        for data in (few, shapes(seed=1), shapes(split="train"), shapes(split="val"))
        for place in range(3)
    }
    assert len(pixels) == 12


def test_each_class_is_sure_to_be_there_once_in_nine_pictures_whichever_stride_they_are_taken_at() -> None:
    single = [sample.truths[0].label for sample in shapes(count=90, objects=1)]
    assert Counter(single) == dict.fromkeys(CLASSES, 10)
    assert all(len(set(single[start : start + 9])) == 9 for start in range(0, 90, 9))
    assert len(set(single[::9])) > 3  # a subset of every ninth has more than one class


def test_the_number_of_objects_is_as_asked_their_classes_differ_and_all_come_as_often() -> None:
    numbers, labels = Counter(), Counter()
    for place in range(300):
        names = [thing.name for thing in scene(place).things]
        assert len(set(names)) == len(names)
        numbers[len(names)] += 1
        labels.update(names)
    assert set(numbers) == {1, 2, 3}
    assert min(numbers.values()) > 75
    assert min(labels.values()) > 0.75 * max(labels.values())
    assert {len(sample.truths) for sample in shapes(count=9, objects=(2, 2))} == {2}


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6])
def test_no_object_is_hidden_by_more_than_is_allowed(overlap: float) -> None:
    hidden = []
    for place in range(40):
        things = scene(place, objects=(3, 3), overlap=overlap).things
        for nth, thing in enumerate(things):
            seen = thing.cover.copy()
            for above in things[nth + 1 :]:
                seen *= 1 - above.cover
            hidden.append(1 - seen.sum() / thing.cover.sum())
    assert max(hidden) <= overlap + 1e-6
    assert (max(hidden) > overlap / 2) == (overlap > 0)


def test_sizes_and_colours_say_nothing_about_the_class() -> None:
    """Boxes' sides per class lie within what the outline can do; colours are even."""
    reach: dict[str, list[float]] = {label: [] for label in CLASSES}
    colours: dict[str, list[float]] = {label: [] for label in CLASSES}
    for place in range(270):
        for thing in scene(place, objects=(1, 1)).things:
            rows, columns = np.nonzero(thing.cover)
            assert min(rows.min(), columns.min()) >= 0
            reach[thing.name].append(max(np.ptp(rows), np.ptp(columns)) + 1)
            colours[thing.name].append(float(thing.colour.mean()))
    low, high = 96 * SIZES[-1][0], 96 * SIZES[0][1]
    for label in CLASSES:
        assert max(reach[label]) <= high + 2
        assert np.mean(colours[label]) == pytest.approx(0.5, abs=0.15)
    assert min(reach["circle"]) >= low - 1
    assert np.mean(reach["circle"]) == pytest.approx(np.mean(reach["ring"]), rel=0.2)


def test_frames_have_a_hole_of_half_their_radius_and_fillings_none() -> None:
    """So a frame has three quarters of the filling's area."""
    for place in range(27):
        thing = scene(place, size=96, objects=(1, 1)).things[0]
        rows, columns = np.nonzero(thing.cover > 0)
        centre = thing.cover[int(rows.mean().round()), int(columns.mean().round())]
        if thing.name != "crescent":
            assert centre == (0 if thing.name in FRAMES else 1)
    assert {*FILLED} | {*FRAMES} == {*CLASSES}


def test_it_is_a_data_set() -> None:
    data = shapes(count=12, seed=3)
    assert len(data) == len(data.names) == 12
    assert data.names[11] == "shapes-test-0011" == data[11].name
    assert data.knows == {Known.MASKS, Known.BOXES}
    assert data.name == "scenes:shapes:split=test:seed=3:size=96:objects=(1,3):overlap=0.25"
    assert data[0].picture.size == (96, 96)
    assert shapes(size=128)[0].picture.size == (128, 128)
    with pytest.raises(IndexError):
        data[12]


@pytest.mark.parametrize(
    "data",
    [shapes(2), grid(2), difull(2), shortcut(2), tiled(shapes(18, objects=1), size=96)],
    ids=lambda data: data.name,
)
def test_processes_may_share_scenes(data: Listed[int]) -> None:
    copy = pickle.loads(pickle.dumps(data))
    assert (np.asarray(copy[1].picture) == np.asarray(data[1].picture)).all()
    assert copy[1].name == data[1].name


@pytest.mark.parametrize("options", [{"count": 2.5}, {"size": 96.5}, {"count": "many"}])
def test_no_whole_numbers_are_refused(options: dict[str, object]) -> None:
    for made in (shapes, grid, shortcut):
        with pytest.raises(TypeError):
            made(**options)
    for made in (grid, difull):
        with pytest.raises(TypeError):
            made(cells=2.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "one picture or more"),
        ({"split": "tset"}, "no split 'tset'; choose train, val, test"),
        ({"size": 20}, "expected 64 or more"),
        ({"objects": 0}, "1 to 9 objects"),
        ({"objects": (2, 1)}, "1 to 9 objects"),
        ({"objects": (1, 10)}, "1 to 9 objects"),
        ({"overlap": 1.5}, "an overlap of 0 to 1"),
    ],
)
def test_what_cant_be_drawn_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        shapes(**options)


def test_an_object_that_doesnt_fit_in_is_named() -> None:
    floor = np.zeros((64, 64, 3), np.float32)
    full = Painting(floor, (Thing("square", np.ones((64, 64), np.float32), np.ones(3, np.float32)),))
    with pytest.raises(DataError, match="a star doesn't fit into a picture of 1 shapes"):
        with_object(full, "star", dice("full"), SIZES, overlap=0.0)
    assert len(with_object(full, "star", dice("full"), SIZES, overlap=0.5).things) == 2
