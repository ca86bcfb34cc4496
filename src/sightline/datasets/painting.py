"""Painting: procedural grounds, and things on them whose pixels are known exactly.

A thing's mask is every pixel that would be different without it, so that what lies over it, and the soft
pixels of its outline, are settled by the picture itself.

Whatever is drawn by chance is drawn from `dice` of its own: a picture is the same whichever others are
made, and in whatever order.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightline.regions import Mask
from sightline.trials import Truth

Pixels = NDArray[np.floating]
"""A picture's colours (height, width, 3), 0..1."""
Cover = NDArray[np.floating]
"""How much of each pixel (height, width) a thing covers, 0..1."""
Outline = Sequence[tuple[float, float]]
"""The corners of a polygon, x to the right and y down."""

FINER = 4  # points a side at which a pixel is judged
OCTAVES = (2, 4, 8, 16)  # cells a side of the ground's noise
CONTRAST = 0.15  # of a thing to each pixel under it, in one of the three colours at least
DRAWS = 128  # of a colour, until one has that contrast


def dice(*key: object) -> np.random.Generator:
    """A generator that is seeded by everything in the key, and by nothing else."""
    digest = hashlib.sha256("\n".join(map(repr, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


@dataclass(frozen=True)
class Thing:
    """Something on a picture: what it is called, where it is, and its one colour."""

    name: str
    cover: Cover
    colour: NDArray[np.floating]


@dataclass(frozen=True)
class Painting:
    """A ground with things on it; those that come later lie over earlier ones."""

    ground: Pixels
    things: tuple[Thing, ...] = ()

    def pixels(self, without: Collection[str] = ()) -> Pixels:
        """The colours, also after some things were taken away."""
        found = self.ground
        for thing in self.things:
            if thing.name not in without:
                found = found + thing.cover[..., None] * (thing.colour - found)
        return found

    def picture(self, without: Collection[str] = ()) -> Image.Image:
        """The picture, also after some things were taken away."""
        return Image.fromarray(_bytes(self.pixels(without)))

    def mask(self, name: str) -> Mask:
        """The pixels that would be different without the thing."""
        return np.asarray((_bytes(self.pixels()) != _bytes(self.pixels([name]))).any(2))

    def truth(self, name: str, label: str | None = None) -> Truth:
        """Where the thing is, by its mask, as the truth of a class of its own name, or of another."""
        return marked(label or name, self.mask(name))


def marked(label: str, mask: Mask) -> Truth:
    """A class whose one instance is this mask, and the box around it; no box where the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return Truth(label, mask=mask)
    box = float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1
    return Truth(label, boxes=(box,), mask=mask)


def ground(random: np.random.Generator, size: int) -> Pixels:
    """Value noise in several octaves between two colours, a slow change towards a third, and grain."""
    colours = random.random((3, 3))
    mixed = _scaled(_noise(random, size, random.uniform(0.4, 0.8)))[..., None]
    angle = random.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:size, :size] / size
    slope = 0.6 * _scaled(np.cos(angle) * x + np.sin(angle) * y)[..., None]
    found = (1 - slope) * (colours[0] + mixed * (colours[1] - colours[0])) + slope * colours[2]
    found = found + random.uniform(0, 0.04) * random.standard_normal((size, size, 1))
    return np.asarray(found.clip(0, 1), dtype=np.float32)


def cover(size: int, *outlines: Outline) -> Cover:
    """How much of each pixel of a square picture lies in an odd number of the outlines: one in another is a hole.

    Each pixel is judged at FINER x FINER points, evenly spread.
    """
    points = (np.arange(size * FINER) + 0.5) / FINER
    turns = np.zeros((size * FINER, size * FINER + 1), dtype=np.uint8)  # how many outlines are crossed at a point
    for outline in outlines:
        x, y = np.array(outline).T
        next_x, next_y = np.roll(x, -1), np.roll(y, -1)
        row, edge = np.nonzero((y <= points[:, None]) != (next_y <= points[:, None]))
        along = (points[row] - y[edge]) / (next_y - y)[edge]
        crossing = x[edge] + along * (next_x - x)[edge]
        np.add.at(turns, (row, np.searchsorted(points, crossing)), 1)
    inside = turns[:, :-1].cumsum(1, dtype=np.uint8) % 2
    rows = np.sum([inside[start::FINER] for start in range(FINER)], axis=0)
    cells = np.sum([rows[:, start::FINER] for start in range(FINER)], axis=0)
    return np.asarray(cells / FINER**2, dtype=np.float32)


def colour(
    random: np.random.Generator, under: Pixels, cover: Cover, contrast: float = CONTRAST
) -> NDArray[np.floating]:
    """A colour by chance that stands out from every pixel under it; of some that don't, the one that most does."""
    red, green, blue = under[cover > 0].T
    best, most = np.zeros(3, dtype=np.float32), -1.0
    for r, g, b in random.random((DRAWS, 3)).astype(np.float32):
        least = float(np.maximum(np.maximum(abs(red - r), abs(green - g)), abs(blue - b)).min())
        if least > most:
            best, most = np.array([r, g, b]), least
        if least >= contrast:
            break
    return best


def spokes(*radii: float) -> Outline:
    """A polygon around (0, 0) with a corner at the end of each radius, at equal angles, clockwise from the top.

    Equal radii make a regular polygon, many of them a circle; long and short ones in turn a star.
    """
    angles = 2 * np.pi * np.arange(len(radii)) / len(radii)
    return [(r * np.sin(a), -r * np.cos(a)) for r, a in zip(radii, angles, strict=True)]


def placed(outline: Outline, centre: tuple[float, float], scale: float, turn: float = 0.0) -> Outline:
    """The outline scaled, turned clockwise by so many radians, and moved from (0, 0) to `centre`."""
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    return [(centre[0] + cos * x - sin * y, centre[1] + sin * x + cos * y) for x, y in outline]


def _noise(random: np.random.Generator, size: int, roughness: float) -> NDArray[np.float64]:
    total = np.zeros((size, size))
    for octave, cells in enumerate(OCTAVES):
        coarse = Image.fromarray(random.random((cells + 1, cells + 1)).astype(np.float32))
        total += roughness**octave * np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))
    return total


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = values.min(), values.max()
    return np.asarray((values - low) / (high - low))


def _bytes(pixels: Pixels) -> NDArray[np.uint8]:
    return (pixels * 255).round().astype(np.uint8)
