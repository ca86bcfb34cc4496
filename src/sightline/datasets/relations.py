"""Relations: one to three coloured, textured shapes beside and above one another, each with its exact mask.

After CLEVR (Johnson et al., arXiv 1612.06890) and ShapeWorld (Kuhnle and Copestake, arXiv 1704.04517) in small:
pictures of which all that can be said in a few words is known, so that what a model says of one, and where its
evidence for a word lies, can be judged. What is said and asked stands in `phrases`.

Differs from them: no two shapes of a picture are of one kind, of one colour or of about one size, so that a shape
or a colour names one thing; and each pair lies clearly beside or above one another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sightline.datasets.listed import Listed
from sightline.datasets.painting import Painting, Thing, cover, dice, ground, placed
from sightline.datasets.scenes import Scene, check, scenes, titled
from sightline.datasets.shapes import FILLED
from sightline.errors import DataError

SHAPES = ("circle", "square", "triangle", "star", "cross")
COLOURS: Mapping[str, tuple[float, float, float]] = {
    "red": (0.86, 0.1, 0.12), "yellow": (0.96, 0.85, 0.12), "green": (0.1, 0.66, 0.2),
    "blue": (0.1, 0.32, 0.92), "purple": (0.6, 0.14, 0.72), "white": (0.97, 0.97, 0.97),
}  # fmt: skip
TEXTURES = ("plain", "striped", "dotted")
RELATIONS = ("left of", "right of", "above", "below")

Circle = tuple[float, float, float]
"""A centre (x, y) and a radius, in pixels."""

SIZES = ((0.38, 0.46), (0.27, 0.32), (0.19, 0.23))
"""Diameters of the circle around a shape, as shares of the picture's side: large, middle, small."""
SMALLEST = 80  # pixels of a picture in which the smallest shape still shows its texture
JITTER = 0.06  # of a colour, in each of red, green and blue
MUTED = 0.4  # how far the ground's colours lie from grey, as a share of what `ground` gives
DARKER = 0.3  # of a shape's colour: what its stripes and dots are painted in
PERIOD, FINEST = 0.26, 5.0  # of a texture, as a share of the diameter; in pixels at least
GAP = 0.03  # between two shapes, as a share of the side
CLEARLY = 2.0  # times farther one way than the other
TRIES = 10_000


@dataclass(frozen=True)
class Item:
    """One shape: its kind, colour and texture by name; in pixels, the circle around it."""

    shape: str
    colour: str
    texture: str
    centre: tuple[float, float]
    radius: float

    def relation(self, to: "Item") -> str:
        """How it lies to another one."""
        right, down = self.centre[0] - to.centre[0], self.centre[1] - to.centre[1]
        if abs(right) > abs(down):
            return "right of" if right > 0 else "left of"
        return "below" if down > 0 else "above"


@dataclass(frozen=True)
class Arrangement:
    """A picture as a painting whose things are named by their shapes, and what is known of them, the largest first."""

    place: int
    split: str
    seed: int
    items: tuple[Item, ...]
    painting: Painting = field(repr=False)

    def item(self, shape: str) -> Item:
        """The one of that shape."""
        return next(item for item in self.items if item.shape == shape)


def relations(
    count: int = 200, seed: int = 0, split: str = "test", size: int = 96, objects: tuple[int, int] | int = (1, 3)
) -> Listed[int]:
    """Pictures of `size` pixels with that many shapes (fewest, most), none of which hides another.

    Classes are the shapes. Raises DataError for options that can't be drawn.
    """
    fewest, most = (objects, objects) if isinstance(objects, int) else objects
    check("relations", count, split, size, SMALLEST)
    if not 1 <= fewest <= most <= len(SIZES):
        raise DataError(f"relations of objects={objects}; expected (fewest, most) of 1 to {len(SIZES)} objects")
    name = titled("relations", split=split, seed=seed, size=size, objects=f"({fewest},{most})")
    draw = partial(_drawn, split=split, seed=seed, size=size, objects=(fewest, most))
    return scenes(name, f"relations-{split}", count, draw)


def arrangement(
    place: int, split: str = "test", seed: int = 0, size: int = 96, objects: tuple[int, int] = (1, 3)
) -> Arrangement:
    """The picture of a place, with all that is known of it."""
    random = dice("relations", split, seed, place)
    number = int(random.integers(objects[0], objects[1] + 1))
    shapes, colours = random.permutation(SHAPES)[:number], random.permutation(list(COLOURS))[:number]
    textures = random.choice(TEXTURES, number)
    slots = sorted(random.permutation(len(SIZES))[:number])
    spots = _spots(random, size, [SIZES[slot] for slot in slots])
    found = [
        Item(str(shape), str(colour), str(texture), (x, y), radius)
        for shape, colour, texture, (x, y, radius) in zip(shapes, colours, textures, spots, strict=True)
    ]
    painting = Painting(0.5 + MUTED * (ground(random, size) - 0.5), tuple(_thing(random, size, item) for item in found))
    return Arrangement(place, split, seed, tuple(found), painting)


def _drawn(place: int, split: str, seed: int, size: int, objects: tuple[int, int]) -> Scene:
    painting = arrangement(place, split, seed, size, objects).painting
    return painting.picture(), tuple(painting.truth(thing.name) for thing in painting.things)


def _spots(random: np.random.Generator, side: int, sizes: Sequence[tuple[float, float]]) -> list[Circle]:
    """Centres and radii in pixels of circles that lie apart, and each clearly beside or above each other."""
    for _ in range(TRIES):
        radii = [side * random.uniform(*size) / 2 for size in sizes]
        spots: list[Circle] = [(*random.uniform(radius, side - radius, 2).tolist(), radius) for radius in radii]
        pairs = [(one, other) for nth, one in enumerate(spots) for other in spots[:nth]]
        if all(_apart(one, other, GAP * side) for one, other in pairs):
            return spots
    raise DataError(f"{len(sizes)} shapes don't fit into a picture; ask for fewer of them")


def _apart(one: Circle, other: Circle, gap: float) -> bool:
    less, more = sorted((abs(one[0] - other[0]), abs(one[1] - other[1])))
    return bool(np.hypot(less, more) >= one[2] + other[2] + gap and more >= CLEARLY * less)


def _thing(random: np.random.Generator, side: int, item: Item) -> Thing:
    outline = placed(FILLED[item.shape], item.centre, item.radius, random.uniform(0, 2 * np.pi))
    tone = (np.array(COLOURS[item.colour]) + random.uniform(-JITTER, JITTER, 3)).clip(0, 1)
    dark = _pattern(random, side, item)[..., None]
    return Thing(item.shape, cover(side, outline), (tone * (1 - dark * (1 - DARKER))).astype(np.float32))


def _pattern(random: np.random.Generator, side: int, item: Item) -> NDArray[np.floating]:
    """How much of each pixel (side, side) lies in the shape's stripes or dots, 0..1."""
    turn, start = random.uniform(0, np.pi), random.uniform(0, 1, 2)
    if item.texture == "plain":
        return np.zeros((side, side), dtype=np.float32)
    period = max(FINEST, PERIOD * 2 * item.radius)
    y, x = np.mgrid[:side, :side] + 0.5
    along, across = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    u, v = (abs((way / period + shift) % 1 - 0.5) * period for way, shift in zip((along, across), start, strict=True))
    # how far inside the edge of a stripe of half the period, or of a dot with that diameter, in pixels
    inside = period / 4 - u if item.texture == "striped" else 0.36 * period - np.hypot(u, v)
    return np.asarray((inside + 0.5).clip(0, 1), dtype=np.float32)
