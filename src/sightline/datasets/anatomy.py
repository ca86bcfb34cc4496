"""Anatomy: what creatures are made of, and which class is made of what.

Lengths are in a creature's own unit, its body being about one long: (0, 0) is the body's middle, x is ahead,
y down. Parts lie so far apart that in pictures of 96 px their pixels can be told apart with two to spare.

Any two of the 16 classes differ in three parts or more, so that three parts tell a class whichever they are;
each variant belongs to four classes; and each class shares two parts with one other class and two different
ones with another, which is what target sensitivity asks about.
"""

import math
from collections.abc import Mapping, Sequence

from sightline.datasets.painting import Outline, placed, spokes

Colour = tuple[int, int, int]
Shape = tuple[Colour, Outline]

RED, YELLOW, GREEN, BLUE = (205, 52, 48), (246, 196, 46), (58, 158, 84), (46, 92, 200)
VIOLET, TEAL, WHITE, BLACK = (142, 68, 178), (36, 170, 176), (250, 250, 246), (24, 24, 28)


def _oval(x: float, y: float, across: float, down: float) -> Outline:
    return [(x + across * right, y + down * below) for right, below in spokes(*[1] * 24)]


def _dot(x: float, y: float, radius: float) -> Outline:
    return _oval(x, y, radius, radius)


def _box(x0: float, y0: float, x1: float, y1: float) -> Outline:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def _band(x: float, y: float, outer: float, inner: float, start: float, end: float) -> Outline:
    """A part of a ring, from angle to angle in degrees, clockwise from straight ahead."""
    angles = [math.radians(start + (end - start) * k / 16) for k in range(17)]
    rim = [(x + outer * math.cos(a), y + outer * math.sin(a)) for a in angles]
    return rim + [(x + inner * math.cos(a), y + inner * math.sin(a)) for a in reversed(angles)]


EYE = (0.38, -0.44)
VARIANTS: Mapping[str, Mapping[str, Sequence[Shape]]] = {
    "beak": {
        "cone": [(YELLOW, [(0.66, -0.56), (1.18, -0.36), (0.66, -0.2)])],
        "hook": [(RED, _band(0.76, -0.16, 0.36, 0.14, -100, 14))],
        "spoon": [(BLUE, _box(0.68, -0.44, 1.0, -0.32)), (BLUE, _dot(1.06, -0.37, 0.16))],
        "twin": [
            (GREEN, [(0.66, -0.46), (1.2, -0.66), (1.06, -0.38)]),
            (GREEN, [(0.66, -0.32), (1.06, -0.38), (1.2, -0.1)]),
        ],
    },
    "eye": {
        "ring": [(WHITE, _dot(*EYE, 0.16)), (BLACK, _dot(*EYE, 0.08))],
        "slit": [(YELLOW, _dot(*EYE, 0.16)), (BLACK, _box(0.34, -0.57, 0.42, -0.31))],
        "square": [(RED, _box(0.24, -0.58, 0.52, -0.30)), (WHITE, _box(0.32, -0.50, 0.44, -0.38))],
        "star": [(BLUE, placed(spokes(*[1, 0.5] * 5), EYE, 0.2))],
    },
    "foot": {
        "web": [(YELLOW, [(x, 0.3), (x + 0.22, 0.84), (x - 0.14, 0.84)]) for x in (-0.28, 0.16)],
        "stilt": [
            (RED, outline)
            for x in (-0.26, 0.16)
            for outline in (_box(x - 0.04, 0.3, x + 0.04, 0.84), _box(x - 0.04, 0.76, x + 0.2, 0.84))
        ],
        "wheel": [
            shape for x in (-0.24, 0.18) for shape in ((BLACK, _dot(x, 0.62, 0.17)), (TEAL, _dot(x, 0.62, 0.1)))
        ],
        "block": [(VIOLET, _box(x - 0.12, 0.3, x + 0.12, 0.8)) for x in (-0.24, 0.18)],
    },
    "tail": {
        "fan": [
            (colour, [(-0.46, 0.04), (-1.14, -0.40 + 0.16 * k), (-1.18, -0.24 + 0.16 * k)])
            for k, colour in enumerate((RED, WHITE, RED, WHITE, RED))
        ],
        "fork": [
            (BLUE, [(-0.46, 0.04), (-1.2, -0.4), (-0.94, 0.0)]),
            (BLUE, [(-0.46, 0.04), (-0.94, 0.08), (-1.2, 0.4)]),
        ],
        "plume": [(GREEN, _dot(-0.72 - 0.18 * k, -0.14 * k, 0.16)) for k in range(3)],
        "curl": [(YELLOW, _band(-0.9, -0.14, 0.28, 0.14, -280, 60))],
    },
    "wing": {
        "leaf": [
            (TEAL, [(0.15, -0.04), (-0.06, -0.22), (-0.44, 0.0), (-0.06, 0.21)]),
            (WHITE, _box(-0.34, -0.02, 0.06, 0.04)),
        ],
        "dots": [(VIOLET, _oval(-0.14, 0.0, 0.28, 0.21)), *((YELLOW, _dot(x, 0.0, 0.07)) for x in (-0.24, -0.04))],
        "bars": [
            (colour, _box(-0.42 + 0.13 * k, -0.18, -0.29 + 0.13 * k, 0.2))
            for k, colour in enumerate((RED, BLACK, RED, BLACK))
        ],
        "saw": [
            (YELLOW, _box(-0.42, 0.05, 0.1, 0.2)),
            *((YELLOW, [(x, 0.06), (x + 0.08, -0.18), (x + 0.16, 0.06)]) for x in (-0.42, -0.24, -0.06)),
        ],
    },
}  # fmt: skip
"""The shapes of each variant of each part, from back to front."""

PARTS = tuple(VARIANTS)

_CODE = {
    "alvo": "00200", "belm": "01003", "cirra": "02021", "dosk": "03333",
    "emri": "10033", "fenno": "11301", "gulda": "12110", "hask": "12231",
    "iblis": "21011", "jovar": "21120", "kelto": "23230", "lumm": "23322",
    "mirse": "30113", "nedda": "30302", "orpo": "32122", "pavik": "33212",
}  # fmt: skip

CLASSES: Mapping[str, Mapping[str, str]] = {
    name: {part: tuple(VARIANTS[part])[int(digit)] for part, digit in zip(PARTS, word, strict=True)}
    for name, word in _CODE.items()
}
"""Each class's variant of each part; in the order of the embedded net's classes."""

BODY: Sequence[Outline] = (
    [(-0.1, -0.32), (0.28, -0.56), (0.68, -0.2), (0.42, 0.2)],
    _oval(-0.12, 0.05, 0.54, 0.4),
    _dot(0.46, -0.4, 0.29),
)
BACK_TO_FRONT = ("tail", "foot", "beak", "body", "wing", "eye")

THINGS: Sequence[Outline] = (
    spokes(*[1] * 24), spokes(*[1] * 4), spokes(*[1] * 3), spokes(*[1, 0.45] * 5), _box(-0.94, -0.34, 0.94, 0.34),
)  # fmt: skip
"""What may lie around a creature, with a radius of about 1; any of the colours below, which parts have too."""
THING_COLOURS = (RED, YELLOW, GREEN, BLUE, VIOLET, TEAL)
