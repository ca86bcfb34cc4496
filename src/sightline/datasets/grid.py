"""The grid game: pictures of different classes tiled into one, in which each class has a cell of its own.

Boehle, Fritz and Schiele, *Convolutional Dynamic Alignment Networks*, arXiv 2104.00032; Rao, Boehle and
Schiele, *Towards Better Understanding Attribution Methods*, arXiv 2205.10435. A class's evidence belongs
in its cell, so the metric `energy` is the game, and an even map gets exactly 1 / cells^2.

Differs from the papers: they tile the pictures of which a model is surest, so that each model plays on
its own grids; ours don't know the model, are the same for all, and hold pictures that it gets wrong. A
map without evidence counts as not judged, where the papers give it 0.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from operator import index

import numpy as np
from PIL import Image, ImageOps

from sightline.datasets.listed import Listed
from sightline.datasets.painting import Painting, dice, ground, marked
from sightline.datasets.scenes import Scene, check, scenes, titled
from sightline.datasets.shapes import CLASSES, with_object
from sightline.errors import DataError, PictureError
from sightline.trials import DataSet

OBJECT = ((0.5, 0.85),)  # diameters of the one object in a cell, as shares of the cell's side


def grid(count: int = 200, seed: int = 0, split: str = "test", cells: int = 2, size: int = 96) -> Listed[int]:
    """Pictures of `size` pixels: cells x cells shapes of different classes, each on a ground of its own.

    Raises DataError for options that can't be drawn.
    """
    _check("grid", cells, size, len(CLASSES))
    check("grid", count, split, size, 32 * cells)
    name = titled("grid", split=split, seed=seed, cells=cells, size=size)
    draw = partial(_drawn, split=split, seed=seed, cells=cells, side=size // cells)
    return scenes(name, f"grid{cells}-{split}", count, draw)


def tiled(data: DataSet, cells: int = 2, count: int = 200, seed: int = 0, size: int = 448) -> Listed[int]:
    """Grids of `size` pixels made of any data set's pictures of one class each, their middles cropped to squares.

    Every picture is read once to learn its class; those that can't be, or have no class or several, are
    left out. Raises DataError where too few classes are left.
    """
    places: dict[str, list[int]] = {}
    problems = list(data.problems)
    for place in range(len(data)):
        try:
            truths = data[place].truths
        except (DataError, PictureError) as error:
            problems.append(str(error))
            continue
        if len(truths) == 1:
            places.setdefault(truths[0].label, []).append(place)
    _check(f"a grid of {data.name}", cells, size, len(places))
    check(f"a grid of {data.name}", count, "test", size, cells)
    name = f"{data.name}, tiled:cells={cells}:seed={seed}:size={size}"
    draw = partial(_tiled, data=data, places=places, seed=seed, cells=cells, side=size // cells)
    return scenes(name, f"grid{cells}", count, draw, problems)


def joined(tiles: Sequence[Image.Image], labels: Sequence[str], cells: int) -> Scene:
    """Square tiles in reading order as one picture, and for each label the truth that it is in its cell."""
    side = tiles[0].width
    picture = Image.new("RGB", (cells * side, cells * side))
    truths = []
    for nth, (tile, label) in enumerate(zip(tiles, labels, strict=True)):
        top, left = side * (nth // cells), side * (nth % cells)
        picture.paste(tile, (left, top))
        mask = np.zeros((cells * side, cells * side), dtype=bool)
        mask[top : top + side, left : left + side] = True
        truths.append(marked(label, mask))
    return picture, tuple(truths)


def tile(label: str, random: np.random.Generator, side: int) -> Image.Image:
    """A square picture of one object of a class, on a ground of its own."""
    return with_object(Painting(ground(random, side)), label, random, OBJECT, overlap=0).picture()


def _drawn(place: int, split: str, seed: int, cells: int, side: int) -> Scene:
    random = dice("grid", split, seed, cells, place)
    labels = [str(label) for label in random.permutation(CLASSES)[: cells**2]]
    return joined([tile(label, random, side) for label in labels], labels, cells)


def _tiled(
    place: int, data: DataSet, places: Mapping[str, Sequence[int]], seed: int, cells: int, side: int
) -> Scene:  # fmt: skip
    random = dice("tiled", seed, cells, place)
    labels = [str(label) for label in random.permutation(sorted(places))[: cells**2]]
    chosen = [data[int(random.choice(places[label]))].picture for label in labels]
    return joined([ImageOps.fit(picture.convert("RGB"), (side, side)) for picture in chosen], labels, cells)


def _check(name: str, cells: int, size: int, classes: int) -> None:
    if index(cells) < 2 or cells**2 > classes:
        raise DataError(
            f"{name} of cells={cells} needs a class for each of cells x cells, 2 x 2 or more, and there are {classes}"
        )
    if index(size) % cells:
        raise DataError(f"{name} of size={size} can't be cut into {cells} x {cells} equal cells; choose a multiple")
