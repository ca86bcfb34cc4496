"""Colour maps: 256 colours each, drawn as a path through OKLab, where equal steps look equal.

OKLab is Ottosson's (2020): L is lightness from 0 to 1, (a, b) the hue and its strength. Lightness
alone carries the value, so a map reads the same in print, in grey and to colour-blind eyes.
"""

from functools import cache
from itertools import product
from typing import Any

import numpy as np

from sightline.errors import SightlineError

Colours = np.ndarray[Any, np.dtype[np.uint8]]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Waypoint = tuple[float, float, float]

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)

# The lightness of the two ends, linear in between; waypoints (position 0..1, hue in degrees, chroma), chosen
# so that the whole path lies inside sRGB.
_EMBER = (
    (0.10, 0.96),
    (
        (0.0, 285, 0.045),
        (0.12, 290, 0.10),
        (0.28, 312, 0.155),
        (0.44, 352, 0.18),
        (0.6, 28, 0.19),
        (0.74, 55, 0.165),
        (0.88, 84, 0.145),
        (1.0, 104, 0.08),
    ),
)
_TIDE_BLUE = (0.46, 0.97), ((0.0, 261, 0.18), (0.3, 258, 0.165), (0.6, 252, 0.105), (0.85, 248, 0.04), (1.0, 248, 0.0))
_TIDE_RED = (0.46, 0.97), ((0.0, 24, 0.18), (0.3, 26, 0.18), (0.6, 32, 0.115), (0.85, 42, 0.04), (1.0, 42, 0.0))


class ColourError(SightlineError, ValueError):
    """No colour map of that name."""


@cache
def table(name: str) -> Colours:
    """The colour map as a read-only (256, 3) uint8 sRGB table, lowest value first.

    `ember` runs from near-black through violet and orange to pale yellow; `tide` from blue (against)
    through near-white to red (for), equally light on both sides; `grey` from black to white.
    Raises ColourError.
    """
    if name == "ember":
        colours = _path(*_EMBER, 256)
    elif name == "tide":
        colours = np.concatenate([_path(*_TIDE_BLUE, 128), _path(*_TIDE_RED, 128)[::-1]])
    elif name == "grey":
        colours = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    else:
        raise ColourError(f"no colours named {name!r}; choose from ember, tide, grey")
    colours.flags.writeable = False
    return colours


def colour(values: Floats, name: str) -> Colours:
    """Values in [0, 1], any shape -> sRGB colours (..., 3), uint8. It clips; NaN is 0."""
    return table(name)[levels(values)]


def levels(values: Floats) -> Colours:
    """Values -> the nearest of 256 levels, uint8: 0 and less and NaN -> 0, 1 and more -> 255."""
    return np.rint(np.nan_to_num(np.clip(values, 0, 1)) * 255).astype(np.uint8)


def _path(lightness: tuple[float, float], waypoints: tuple[Waypoint, ...], steps: int) -> Colours:
    """Colours (steps, 3) along smooth curves through the waypoints, lightness linear from end to end."""
    at = np.linspace(0, 1, steps)
    positions = [position for position, _, _ in waypoints]
    hues = np.radians([hue for _, hue, _ in waypoints])
    chromas = np.array([chroma for _, _, chroma in waypoints])
    a = _smooth(at, positions, chromas * np.cos(hues))
    b = _smooth(at, positions, chromas * np.sin(hues))
    return _nearest_bytes(np.stack([np.linspace(*lightness, steps), a, b], axis=-1))


def _smooth(at: Floats, positions: list[float], values: Floats) -> Floats:
    """Cubic Hermite through the waypoints, each one's slope its neighbours' (no corner, so no band)."""
    slopes = np.gradient(values, positions)
    right = np.clip(np.searchsorted(positions, at, side="right"), 1, len(positions) - 1)
    left = right - 1
    span = np.asarray(positions)[right] - np.asarray(positions)[left]
    t = (at - np.asarray(positions)[left]) / span
    curve: Floats = (
        (1 + 2 * t) * (1 - t) ** 2 * values[left]
        + t * (1 - t) ** 2 * span * slopes[left]
        + t**2 * (3 - 2 * t) * values[right]
        - t**2 * (1 - t) * span * slopes[right]
    )
    return curve


def _nearest_bytes(lab: Floats) -> Colours:
    """sRGB bytes: of the eight roundings up and down, the nearest in lightness (so it never steps back)."""
    linear = _to_linear(lab).clip(0, 1)
    srgb = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    choices = np.stack([(np.floor(srgb) + up).clip(0, 255) for up in product((0, 1), repeat=3)])
    off = np.abs(_lightness(choices) - lab[:, 0])
    best: Colours = np.take_along_axis(choices, off.argmin(axis=0)[None, :, None], axis=0)[0].astype(np.uint8)
    return best


def _lightness(srgb: Floats) -> Floats:
    """OKLab L of sRGB values in 0..255."""
    share = srgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    lightness: Floats = np.cbrt(linear @ _TO_CONES.T) @ _TO_LAB[0]
    return lightness


def _to_linear(lab: Floats) -> Floats:
    """OKLab (..., 3) -> linear sRGB (..., 3), outside [0, 1] where the screen can't show it."""
    linear: Floats = (lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_CONES).T
    return linear
