"""A map over its picture: the evidence glows, the rest of the photograph stays a photograph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from sightline.render.colours import Colours, levels, table

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Heat = np.ndarray[Any, np.dtype[np.floating[Any]]]

_UNSEEN_BRIGHTNESS = 0.45
_FINE_PERCENTILE = 99


def overlay(
    picture: Image.Image,
    heat: Heat,
    *,
    opacity: float = 0.7,
    colours: str | None = None,
    signed: bool = False,
    peak: float | None = None,
    fine: bool = False,
) -> Image.Image:
    """The picture as RGB with `heat`, float (height, width) in its pixels, laid over it.

    Unsigned, 0 and less is clear, and `peak` (by default the largest value) has the last colour;
    signed, 0 is clear and +-`peak` (by default the largest magnitude) are the two ends. A colour
    covers `opacity` (0 to 1) * v (2 - v) of the picture, v = value / peak, with |value| where
    signed; beneath it the picture fades to grey by the same share, so that none of its own colours
    is taken for evidence. Where heat is NaN the model could not look: there the picture is grey and
    dim. A heat of zeros changes nothing.

    `fine` is for heat that says something else of each pixel, as gradients do: the picture beneath is
    grey and dim, and unless a `peak` is given the highest hundredth of the values has the last colour.

    `colours` names a table (`ember`, or `tide` where signed). Raises ValueError for another shape,
    an opacity outside [0, 1] or an infinite value, ColourError for an unknown table.
    """
    picture = picture.convert("RGB")
    if heat.shape != (picture.height, picture.width):
        raise ValueError(
            f"heat is {heat.shape}; expected the picture's (height, width), {(picture.height, picture.width)}"
        )
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity is {opacity}; expected 0 to 1")
    colour_map = table(colours or ("tide" if signed else "ember"))
    unseen = np.isnan(heat)
    if fine:
        picture = picture.convert("L").point([round(level * _UNSEEN_BRIGHTNESS) for level in range(256)]).convert("RGB")
        peak = peak or float(np.nanpercentile(np.abs(heat), _FINE_PERCENTILE)) or None
    index = Image.fromarray(levels(_position(heat, unseen, signed, peak)))
    grey = picture.convert("L")
    cover = index.point(_cover(opacity, signed))
    faded = Image.composite(grey.convert("RGB"), picture, cover)
    glow = Image.composite(_coloured(index, colour_map), faded, cover)
    if unseen.any():
        dim = grey.point([round(level * _UNSEEN_BRIGHTNESS) for level in range(256)])
        glow.paste(dim.convert("RGB"), mask=Image.fromarray(unseen.astype(np.uint8) * 255))
    return glow


def outlined(
    image: Image.Image,
    box: Sequence[float],
    *,
    colour: tuple[int, int, int] = (255, 255, 255),
    width: int | None = None,
) -> Image.Image:
    """The image as RGB with `box` [x0, y0, x1, y1] (pixels, x1 and y1 exclusive) drawn just inside its edges.

    `width` is in pixels, by default 1/150 of the image's mean side, at least 2. A thin dark line
    around it keeps a white box visible on white. A box without area draws nothing.
    """
    result = image.convert("RGB")
    x0, y0, x1, y1 = (round(edge) for edge in box)
    if x1 <= x0 or y1 <= y0:
        return result
    width = width or max(2, round((image.width + image.height) / 300))
    rim = max(1, width // 3)
    draw = ImageDraw.Draw(result)
    draw.rectangle((x0 - rim, y0 - rim, x1 - 1 + rim, y1 - 1 + rim), outline=(24, 24, 24), width=rim)
    draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=colour, width=width)
    return result


def _position(heat: Heat, unseen: Mask, signed: bool, peak: float | None) -> Heat:
    """Where each value lies in the colour table, 0 to 1."""
    seen = np.where(unseen, 0, heat).astype(np.result_type(heat.dtype, np.float32))
    largest = float(max(seen.max(), -seen.min() if signed else 0))
    if not np.isfinite(seen).all():
        raise ValueError("heat has infinite values; expected finite ones, NaN where the model could not look")
    scale = largest if peak is None else peak
    with np.errstate(over="ignore"):
        share: Heat = np.clip(seen / scale, -1, 1) if scale > 0 else np.zeros_like(seen)
    return (share + 1) / 2 if signed else share


def _cover(opacity: float, signed: bool) -> list[int]:
    """For each of the 256 levels, how much of the picture its colour covers, 0 to 255."""
    value = np.arange(256) / 255
    if signed:  # the two middle levels are 0
        value = np.maximum(np.abs(2 * value - 1) - 1 / 255, 0) * 255 / 254
    # Steep enough to glow, but no cusp at 0, which would draw the edge of the evidence as a line.
    return [round(255 * opacity * share) for share in (value * (2 - value)).tolist()]


def _coloured(index: Image.Image, colour_map: Colours) -> Image.Image:
    paletted = index.copy()
    paletted.putpalette(colour_map.tobytes())
    return paletted.convert("RGB")
