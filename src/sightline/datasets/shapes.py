"""Shapes: one to three objects of different classes on procedural grounds, each with its exact mask.

After the synthetic set of RefineCAM (arXiv 2605.14641): colours, angles and three sizes say nothing about
the class. Differs from it: several objects a picture, so that a map can be asked about one and not about
the other; stars, crosses and crescents beside its circles, squares and triangles, filled and as frames;
grounds are drawn, not photographs; pictures are of 96 px, and the smaller two sizes are larger shares of
them, so that a frame keeps its hole.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from sightline.datasets.listed import Listed
from sightline.datasets.painting import (
    Cover,
    Outline,
    Painting,
    Thing,
    colour,
    cover,
    dice,
    ground,
    placed,
    spokes,
)
from sightline.datasets.scenes import Scene, check, scenes, titled
from sightline.errors import DataError

ARM, HALF = 3 / 10**0.5, 1 / 10**0.5  # of a cross in a circle of radius 1: an arm's length, half its width
CIRCLE, SQUARE, TRIANGLE, STAR = spokes(*[1] * 48), spokes(*[1] * 4), spokes(*[1] * 3), spokes(*[1, 0.45] * 5)
CROSS: Outline = [
    (HALF, -ARM), (HALF, -HALF), (ARM, -HALF), (ARM, HALF), (HALF, HALF), (HALF, ARM),
    (-HALF, ARM), (-HALF, HALF), (-ARM, HALF), (-ARM, -HALF), (-HALF, -HALF), (-HALF, -ARM),
]  # fmt: skip
CRESCENT: Outline = [*CIRCLE[:25], *((0.4 * x, y) for x, y in CIRCLE[23:0:-1])]

FILLED = {
    "circle": CIRCLE, "square": SQUARE, "triangle": TRIANGLE, "star": STAR, "cross": CROSS, "crescent": CRESCENT,
}  # fmt: skip
FRAMES = {"ring": CIRCLE, "square frame": SQUARE, "triangle frame": TRIANGLE}
CLASSES = (*FILLED, *FRAMES)
HOLE = 0.5  # of a frame's radius

SIZES = ((0.36, 0.45), (0.25, 0.31), (0.17, 0.21))
"""Diameters of the circle around an object, as shares of the picture's side: large, middle, small."""
SMALLEST = 64  # pixels of a picture in which the smallest frame still has a hole
TRIES = 1000


def shapes(
    count: int = 200,
    seed: int = 0,
    split: str = "test",
    size: int = 96,
    objects: tuple[int, int] | int = (1, 3),
    overlap: float = 0.25,
) -> Listed[int]:
    """Pictures of `size` pixels with that many objects (fewest, most), no two of one class.

    Of no object more than `overlap` (0 to 1) is hidden by others. Each nine pictures have an object of each
    class that is sure to be there; the others come by chance. Raises DataError for options that can't be drawn.
    """
    fewest, most = (objects, objects) if isinstance(objects, int) else objects
    check("shapes", count, split, size, SMALLEST)
    if not (1 <= fewest <= most <= len(CLASSES) and 0 <= overlap <= 1):
        raise DataError(
            f"shapes of objects={objects}, overlap={overlap}; expected (fewest, most) of 1 to {len(CLASSES)} objects, "
            "and an overlap of 0 to 1"
        )
    name = titled("shapes", split=split, seed=seed, size=size, objects=f"({fewest},{most})", overlap=overlap)
    draw = partial(_drawn, split=split, seed=seed, size=size, objects=(fewest, most), overlap=overlap)
    return scenes(name, f"shapes-{split}", count, draw)


def scene(
    place: int, split: str = "test", seed: int = 0, size: int = 96, objects: tuple[int, int] = (1, 3),
    overlap: float = 0.25,
) -> Painting:  # fmt: skip
    """The picture of a place as a painting, from which objects can be taken away."""
    random = dice("shapes", split, seed, place)
    # each class is sure to be there once in each block of pictures, so that they are balanced however many are made
    block, nth = divmod(place, len(CLASSES))
    sure = dice("shapes", split, seed, "block", block).permutation(CLASSES)[nth]
    others = random.permutation([label for label in CLASSES if label != sure])
    labels = [sure, *others[: random.integers(objects[0], objects[1] + 1) - 1]]
    painting = Painting(ground(random, size))
    for label in random.permutation(labels):
        painting = with_object(painting, str(label), random, SIZES, overlap)
    return painting


def with_object(
    painting: Painting, label: str, random: np.random.Generator, sizes: Sequence[tuple[float, float]], overlap: float
) -> Painting:
    """The painting with one object more, inside the picture, that hides no more of another than is allowed.

    Its diameter is between a low and a high share of the picture's side. Raises DataError where it doesn't fit in.
    """
    outline: Outline = FILLED.get(label) or FRAMES[label]
    side = len(painting.ground)
    for _ in range(TRIES):
        radius = side * random.uniform(*sizes[int(random.integers(len(sizes)))]) / 2
        x, y = random.uniform(radius, side - radius, 2)
        turn = random.uniform(0, 2 * np.pi)
        radii = (radius, HOLE * radius) if label in FRAMES else (radius,)
        over = cover(side, *(placed(outline, (x, y), each, turn) for each in radii))
        if all(hidden <= overlap for hidden in _hidden(painting, over)):
            thing = Thing(label, over, colour(random, painting.pixels(), over))
            return Painting(painting.ground, (*painting.things, thing))
    raise DataError(f"a {label} doesn't fit into a picture of {len(painting.things)} shapes; ask for fewer of them")


def _drawn(place: int, split: str, seed: int, size: int, objects: tuple[int, int], overlap: float) -> Scene:
    painting = scene(place, split, seed, size, objects, overlap)
    return painting.picture(), tuple(painting.truth(thing.name) for thing in painting.things)


def _hidden(painting: Painting, over: Cover) -> list[float]:
    """How much of each thing is hidden once something more lies over it."""
    found = []
    for thing in reversed(painting.things):
        found.append(float((thing.cover * over).sum() / thing.cover.sum()))
        over = 1 - (1 - over) * (1 - thing.cover)
    return found
