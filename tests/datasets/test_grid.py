"""The grid game: each class has its own cell, chance is one cell's share, and any data set can be tiled."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toys import Toy

from sightline.datasets.grid import grid, joined, tiled
from sightline.datasets.listed import Listed
from sightline.datasets.shapes import CLASSES, shapes
from sightline.errors import DataError, PictureError
from sightline.metrics.energy import energy
from sightline.trials import Known, Sample, Truth

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


def plain(labels: list[str], broken: int = 99) -> Listed[int]:
    """Pictures of one colour each, wider than high; "two" has two classes, "none" has none."""

    def read(name: str, place: int) -> Sample:
        if place == broken:
            raise PictureError(f"{name} is broken")
        named = {"two": ("red", "blue"), "none": ()}.get(labels[place], (labels[place],))
        return Sample(name, Image.new("RGB", (30, 20), COLOURS.get(labels[place])), tuple(map(Truth, named)))

    return Listed("plain", frozenset({Known.CLASSES}), {f"p{nth}": nth for nth in range(len(labels))}, read)


@pytest.mark.parametrize("cells", [2, 3])
def test_cells_are_the_pictures_quarters_or_ninths_in_reading_order(cells: int) -> None:
    side = 96 // cells
    for sample in grid(4, cells=cells):
        assert sample.picture.size == (96, 96)
        assert len({truth.label for truth in sample.truths}) == cells**2
        for nth, truth in enumerate(sample.truths):
            row, column = divmod(nth, cells)
            expected = np.zeros((96, 96), bool)
            expected[row * side : (row + 1) * side, column * side : (column + 1) * side] = True
            assert (truth.mask == expected).all()
            assert truth.boxes == ((column * side, row * side, (column + 1) * side, (row + 1) * side),)


@pytest.mark.parametrize("cells", [2, 3])
def test_an_even_map_gets_a_cells_share_and_a_perfect_one_all(cells: int) -> None:
    sample = grid(1, cells=cells)[0]
    image = torch.zeros(3, 96, 96)
    for truth in sample.truths:
        assert energy(Toy(torch.ones(96, 96), truth, image=image)) == pytest.approx((1 / cells**2,))
        assert energy(Toy(torch.from_numpy(truth.mask).float(), truth, image=image)) == (1.0,)
        assert energy(Toy(torch.zeros(96, 96), truth, image=image)) is None  # not 0, as the papers have it


def test_each_cell_holds_a_shape_of_its_class_and_every_class_comes_everywhere() -> None:
    at: dict[str, Counter[int]] = {label: Counter() for label in CLASSES}
    for sample in grid(120):
        for nth, truth in enumerate(sample.truths):
            at[truth.label][nth] += 1
    assert all(sum(places.values()) == pytest.approx(120 * 4 / 9, rel=0.35) for places in at.values())
    assert all(len(places) == 4 for places in at.values())


def test_a_picture_depends_on_its_place_alone() -> None:
    one, other = grid(2)[1], grid(9)[1]
    assert (np.asarray(one.picture) == np.asarray(other.picture)).all()
    assert one.name == other.name == "grid2-test-0001"
    assert (np.asarray(grid(2, seed=1)[1].picture) != np.asarray(one.picture)).any()
    assert [t.label for t in grid(2, split="train")[1].truths] != [t.label for t in one.truths]


def test_tiles_stand_where_their_truths_are() -> None:
    tiles = [Image.new("RGB", (5, 5), colour) for colour in COLOURS.values()]
    picture, truths = joined(tiles, list(COLOURS), 2)
    pixels = np.asarray(picture)
    assert picture.size == (10, 10)
    for truth in truths:
        assert (pixels[truth.mask] == COLOURS[truth.label]).all()
        assert truth.mask.sum() == 25


def test_any_data_set_is_tiled_by_its_pictures_of_one_class() -> None:
    labels = ["red", "two", "green", "none", "blue", "white", "red", "red"]
    data = tiled(plain(labels, broken=6), cells=2, count=20, size=40)
    assert data.problems == ("p6 is broken",)
    seen = Counter()
    for sample in data:
        pixels = np.asarray(sample.picture)
        assert pixels.shape == (40, 40, 3)
        assert len({truth.label for truth in sample.truths}) == 4
        for truth in sample.truths:
            assert (pixels[truth.mask] == COLOURS[truth.label]).all()
        seen[sample.truths[0].label] += 1
    assert len(seen) == 4
    assert len(data) == 20
    assert (np.asarray(data[3].picture) == np.asarray(tiled(plain(labels, broken=6), 2, 4, size=40)[3].picture)).all()


def test_any_picture_of_a_class_may_be_drawn_and_the_seed_says_which() -> None:
    def read(name: str, shade: int) -> Sample:
        return Sample(name, Image.new("RGB", (20, 20), (shade, shade, shade)), (Truth(name[0]),))

    entries = {f"{label}{shade}": shade for label in "abcd" for shade in (50, 100, 150)}
    data = Listed("shades", frozenset({Known.CLASSES}), entries, read)
    seen = {shade for sample in tiled(data, count=12, size=40) for shade in np.unique(np.asarray(sample.picture))}
    assert seen == {50, 100, 150}
    first, other = (np.asarray(tiled(data, count=12, seed=seed, size=40)[3].picture) for seed in (0, 1))
    assert (first != other).any()


def test_a_tile_is_the_middle_of_its_picture_whatever_its_mode() -> None:
    striped = Image.new("L", (30, 10))
    striped.paste(255, (10, 0, 20, 10))
    data = Listed(
        "striped", frozenset(), dict.fromkeys("abcd", 0), lambda name, _: Sample(name, striped, (Truth(name),))
    )
    assert (np.asarray(tiled(data, size=20)[0].picture) == 255).all()


def test_scenes_of_one_shape_are_tiled_too() -> None:
    data = tiled(shapes(count=18, objects=1), cells=2, count=2, size=96)
    assert [len(sample.truths) for sample in data] == [4, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": 4}, "cells=4 needs a class for each .* and there are 9"),
        ({"cells": 1}, "2 x 2 or more"),
        ({"size": 97}, "2 x 2 equal cells"),
        ({"size": 60}, "expected 64 or more"),
        ({"split": "all"}, "no split 'all'"),
        ({"count": -1}, "one picture or more"),
    ],
)
def test_what_cant_be_drawn_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        grid(**options)


def test_too_few_classes_to_tile_are_refused() -> None:
    with pytest.raises(DataError, match="a grid of plain of cells=2 .* there are 3"):
        tiled(plain(["red", "green", "blue", "two", "red"]))


def test_real_photographs_are_tiled(data: Path) -> None:
    from sightline.datasets import boxes_csv, subset

    found = tiled(subset(boxes_csv(data / "imagenet_val_boxes"), 12), cells=2, count=2)
    sample = found[0]
    assert sample.picture.size == (448, 448)
    assert len({truth.label for truth in sample.truths}) == 4
