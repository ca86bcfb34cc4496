"""What an annotation calls a box -> a Box inside its picture.

Whether the first pixel is number 0 or 1, and whether the last one belongs to the box, differs between
data sets; `Ends` names it.
"""

import math
import reprlib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NoReturn

from sightline.errors import DataError
from sightline.geometry import Box
from sightline.trials import Truth


class Ends(StrEnum):
    """What the numbers of a box count."""

    FROM_ONE = "from-one"
    """Pixels, the first is 1, the last belongs to the box: PASCAL VOC."""
    FROM_ZERO = "from-zero"
    """Pixels, the first is 0, the last belongs to the box: ILSVRC."""
    EDGES = "edges"
    """The lines between pixels, 0 to the width: COCO, and Sightline's own."""

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise DataError(f"boxes don't count {value!r}; expected one of {', '.join(cls)}")


def box(
    corners: Sequence[object],
    ends: Ends,
    size: tuple[int, int],
    where: str,
    scale: tuple[float, float] = (1.0, 1.0),
) -> Box:
    """The box x0, y0, x1, y1 of an annotation, scaled (x, y) and cut to a picture of `size` (width, height).

    Raises DataError, beginning with `where`, for what isn't finite, is inverted or lies wholly outside.
    """
    x0, y0, x1, y1 = (number(corner, where) for corner in corners)
    told = f"{where} has the box {x0:g}, {y0:g}, {x1:g}, {y1:g}"
    first, after = (1 if ends is Ends.FROM_ONE else 0), (1 if ends is Ends.FROM_ZERO else 0)
    x0, y0, x1, y1 = x0 - first, y0 - first, x1 + after, y1 + after
    if x1 <= x0 or y1 <= y0:
        raise DataError(f"{told}, which has no width or no height; expected left, top, right, bottom")
    x0, x1 = max(x0 * scale[0], 0.0), min(x1 * scale[0], float(size[0]))
    y0, y1 = max(y0 * scale[1], 0.0), min(y1 * scale[1], float(size[1]))
    if x1 <= x0 or y1 <= y0:
        raise DataError(f"{told}, which lies outside the picture; expected one of its {size[0]} x {size[1]} pixels")
    return x0, y0, x1, y1


def number(value: object, where: str) -> float:
    """A number of an annotation, as text or as JSON has it. Raises DataError, beginning with `where`."""
    known = isinstance(value, str | int | float) and not isinstance(value, bool)
    try:
        found = float(value) if known else math.nan  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise DataError(f"{where} has {reprlib.repr(value)} where a finite number is expected; correct it")
    return found


def by_label(found: Iterable[tuple[str, Box, bool]]) -> tuple[Truth, ...]:
    """Each object's label, box and whether it is difficult -> a truth a class, in the order of their first objects.

    A class's boxes include difficult ones; it is difficult itself where all are.
    """
    objects: dict[str, list[tuple[Box, bool]]] = {}
    for label, where, difficult in found:
        objects.setdefault(label, []).append((where, difficult))
    return tuple(
        Truth(label, tuple(where for where, _ in each), difficult=all(difficult for _, difficult in each))
        for label, each in objects.items()
    )
