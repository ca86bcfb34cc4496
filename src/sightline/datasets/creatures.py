"""Creatures made of removable parts: what a class is, and what each part is worth to a model, can be known.

FunnyBirds (Hesse, Schaub-Meyer, Roth, ICCV 2023, arXiv 2308.06248) in two dimensions and without a renderer:
a class is a choice of beak, eye, foot, tail and wing; the body, the ground, the light and the things around
say nothing about it; any part can be taken away while all else stays as it is, to the pixel.

Differs from the paper: 16 classes instead of 50 (see `anatomy`), 96 px instead of 256, and nothing hides a
part, so that every part of every picture can be asked about.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sightline.datasets.anatomy import (
    BACK_TO_FRONT,
    BODY,
    CLASSES,
    PARTS,
    THING_COLOURS,
    THINGS,
    VARIANTS,
    Colour,
)
from sightline.datasets.painting import Outline, dice, marked, placed
from sightline.datasets.scenes import check, titled
from sightline.errors import DataError
from sightline.regions import Mask
from sightline.trials import Known, Sample

LOSSES = 0.5  # the share of creatures in the split `train` that lost parts
SMALLEST = 64  # pixels of a picture in which parts can be told apart
FINER = 3  # drawn so many times finer than the picture, then averaged

# As shares of the picture's side: a creature's unit of length, a thing's radius, the margin inside the frame.
LENGTH, RADIUS, MARGIN = (0.32, 0.37), (0.065, 0.105), 0.02
TURN = math.radians(15)  # either way
FEWEST, MOST, APART, TRIES = 2, 5, 0.06, 60  # things; how far from all else, as a share; draws of a place for them


@dataclass(frozen=True)
class Layer:
    """A shape: the part or thing that it belongs to, its colour, its corners in the picture's pixels."""

    of: str
    colour: Colour
    outline: Outline = field(repr=False)


@dataclass(frozen=True, eq=False)
class Creature:
    """A scene: layers from back to front over a ground (size, size, 3), and the light (size, size, 1) on all of it."""

    label: str
    layers: tuple[Layer, ...] = field(repr=False)
    ground: NDArray[np.float32] = field(repr=False)
    light: NDArray[np.float32] = field(repr=False)
    _drawn: dict[frozenset[str], Image.Image] = field(default_factory=dict, init=False, repr=False)

    @property
    def classes(self) -> Mapping[str, Mapping[str, str]]:
        """Each class's variant of each part."""
        return CLASSES

    @cached_property
    def background(self) -> tuple[str, ...]:
        """The things around the creature."""
        return tuple(dict.fromkeys(layer.of for layer in self.layers if layer.of not in BACK_TO_FRONT))

    @cached_property
    def parts(self) -> Mapping[str, Mask]:
        """The pixels (size, size) in which each part that the creature has, and each thing around it, shows.

        No other pixel changes when it is taken away.
        """
        canvas = _canvas(self.layers, len(self.ground))
        return {
            name: _share(canvas, [False, *(layer.of == name for layer in self.layers)]) > 0
            for name in (*self._own, *self.background)
        }

    def without(self, parts: Sequence[str]) -> Image.Image:
        """The same picture without some of the parts or things. Raises DataError for one that isn't in it."""
        there = (*self._own, *self.background)
        for name in parts:
            if name not in there:
                raise DataError(f"no part {name!r} in this picture; it has {', '.join(there)}")
        gone = frozenset(parts)
        if gone not in self._drawn:
            kept = [layer for layer in self.layers if layer.of not in gone]
            self._drawn[gone] = _seen(kept, self.ground, self.light)
        return self._drawn[gone]

    @cached_property
    def _own(self) -> tuple[str, ...]:
        there = {layer.of for layer in self.layers}
        return tuple(part for part in PARTS if part in there)


def creatures(count: int = 200, seed: int = 0, split: str = "test", size: int = 96) -> "Creatures":
    """Pictures of `size` pixels with one creature each; each 16 pictures show each class once.

    In the split `train` half of the creatures lost some of their parts, as FunnyBirds' do, so that one
    without them is nothing new to a model; all others are whole. Raises DataError for options that can't be drawn.
    """
    check("creatures", count, split, size, SMALLEST)
    return Creatures(count, seed, split, size)


@dataclass(frozen=True)
class Creatures:
    """The data set. What is true of a picture is where its class is told: the creature's parts, not its body."""

    count: int
    seed: int
    split: str
    size: int
    knows: frozenset[Known] = frozenset({Known.MASKS, Known.BOXES, Known.PARTS})
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return titled("creatures", split=self.split, seed=self.seed, size=self.size)

    @property
    def names(self) -> Sequence[str]:
        return [f"creatures-{self.split}-{place:04}" for place in range(self.count)]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: int) -> Sample:
        if not 0 <= place < self.count:
            raise IndexError(f"{self.name} has {self.count} pictures, none at {place}")
        found = self.scene(place)
        own = [mask for part, mask in found.parts.items() if part in PARTS]
        mask = np.any(own, axis=0) if own else np.zeros((self.size, self.size), dtype=bool)
        return Sample(f"creatures-{self.split}-{place:04}", found.without(()), (marked(found.label, mask),), found)

    def scene(self, place: int) -> Creature:
        """The scene of a place alone, which is quicker where no mask is wanted."""
        # each class comes once in each block of pictures, so that they are balanced however many are made
        block, nth = divmod(place, len(CLASSES))
        label = dice("creatures", self.split, self.seed, "block", block).permutation(list(CLASSES))[nth]
        draw = dice("creatures", self.split, self.seed, place)
        return scene(draw, self.size, str(label), losses=LOSSES if self.split == "train" else 0)


def scene(draw: np.random.Generator, size: int, label: str, losses: float = 0.0) -> Creature:
    """A creature of a class, placed, turned and lit as drawn; with a probability of `losses` some parts are lost."""
    shapes = {part: VARIANTS[part][variant] for part, variant in CLASSES[label].items()}
    body: Colour = tuple(draw.integers(150, 225, 3).tolist())
    shapes["body"] = [(body, outline) for outline in BODY]
    whole = _placed(draw, size, [Layer(name, *shape) for name in BACK_TO_FRONT for shape in shapes[name]])
    things = _things(draw, size, whole)
    lost = draw.permutation(PARTS)[: draw.integers(1, len(PARTS) + 1)] if draw.random() < losses else ()
    kept = [layer for layer in whole if layer.of not in lost]
    return Creature(label, (*things, *kept), _ground(draw, size), _light(draw, size))


def _placed(draw: np.random.Generator, size: int, layers: Sequence[Layer]) -> list[Layer]:
    """Layers in a creature's own coordinates -> in the picture's, the creature looking left or right, all in sight."""
    length, turn, ahead = size * draw.uniform(*LENGTH), draw.uniform(-TURN, TURN), draw.choice((-1, 1))
    cos, sin = length * math.cos(turn), length * math.sin(turn)
    corners = np.vstack([layer.outline for layer in layers]) * (ahead, 1) @ [[cos, sin], [-sin, cos]]
    corners += draw.uniform(MARGIN * size - corners.min(0), (1 - MARGIN) * size - corners.max(0))
    ends = np.cumsum([len(layer.outline) for layer in layers])
    outlines = np.split(corners, ends[:-1])
    return [replace(layer, outline=outline.tolist()) for layer, outline in zip(layers, outlines, strict=True)]


def _things(draw: np.random.Generator, size: int, creature: Sequence[Layer]) -> list[Layer]:
    """Things around a creature, apart from it and from each other; fewer than drawn where no place is left."""
    taken = [_circle(layer.outline) for layer in creature]
    things: list[Layer] = []
    wanted = draw.integers(FEWEST, MOST + 1)
    for _ in range(TRIES):
        if len(things) == wanted:
            break
        radius = size * draw.uniform(*RADIUS)
        x, y = draw.uniform(radius, size - radius, 2)
        if any(math.hypot(x - cx, y - cy) < radius + other + APART * size for cx, cy, other in taken):
            continue
        shape = THINGS[int(draw.integers(len(THINGS)))]
        colour = THING_COLOURS[int(draw.integers(len(THING_COLOURS)))]
        outline = placed(shape, (x, y), radius, draw.uniform(0, 2 * math.pi))
        things.append(Layer(f"thing {len(things) + 1}", colour, outline))
        taken.append((x, y, radius))
    return things


def _circle(outline: Outline) -> tuple[float, float, float]:
    """A circle (x, y, radius) around an outline."""
    xs, ys = zip(*outline, strict=True)
    x, y = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    return x, y, max(math.hypot(right - x, down - y) for right, down in outline)


def _ground(draw: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Clouds, coarse and fine, of two colours near grey: paler than any part, darker than any body."""
    colours = draw.uniform(60, 150, (2, 1)) + draw.uniform(-22, 22, (2, 3))
    mixed = np.zeros((size, size))
    for cells, share in ((3, 0.7), (9, 0.3)):
        coarse = Image.fromarray(draw.random((cells, cells)).astype(np.float32))
        mixed += share * np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))
    return np.asarray(colours[0] + mixed[..., None] * (colours[1] - colours[0]), dtype=np.float32)


def _light(draw: np.random.Generator, size: int) -> NDArray[np.float32]:
    """More light from one side than from the other, and a little grain."""
    angle, strength = draw.uniform(0, 2 * math.pi), draw.uniform(0, 0.25)
    across = np.linspace(-0.5, 0.5, size)
    slope = math.cos(angle) * across + math.sin(angle) * across[:, None]
    light = 0.92 + strength * slope + draw.normal(0, 0.015, (size, size))
    return np.asarray(light[..., None], dtype=np.float32)


def _seen(layers: Sequence[Layer], ground: NDArray[np.float32], light: NDArray[np.float32]) -> Image.Image:
    canvas = _canvas(layers, len(ground))
    bare = _share(canvas, [True, *[False] * len(layers)])
    canvas.putpalette([0, 0, 0, *(channel for layer in layers for channel in layer.colour)])
    painted = np.asarray(canvas.convert("RGB").reduce(FINER))
    colours = (painted + bare[..., None] * ground) * light
    return Image.fromarray(colours.clip(0, 255).astype(np.uint8))


def _canvas(layers: Sequence[Layer], size: int) -> Image.Image:
    """Which layer is seen where, counted from 1, and 0 where it is the ground; so many times finer than the picture."""
    canvas = Image.new("L", (size * FINER, size * FINER))
    pen = ImageDraw.Draw(canvas)
    for number, layer in enumerate(layers, 1):
        # Pillow's points are pixels' centres, ours their corners
        pen.polygon([(x * FINER - 0.5, y * FINER - 0.5) for x, y in layer.outline], fill=number)
    return canvas


def _share(canvas: Image.Image, chosen: Sequence[bool]) -> NDArray[np.float32]:
    """How much of each pixel, 0 to 1, is taken by the chosen of the ground and the layers on it."""
    table = [255 * each for each in chosen] + [0] * (256 - len(chosen))
    return np.asarray(np.asarray(canvas.point(table).reduce(FINER)) / 255, dtype=np.float32)
