"""Regions: a map in the picture's pixels -> peak, mask, component, box.

Maps are float arrays (height, width); NaN, where the model could not look, belongs to no region.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

Heat = NDArray[np.floating]
Mask = NDArray[np.bool_]
PixelBox = tuple[int, int, int, int]
Boxes = NDArray[np.int64]  # (n, 4)

LARGEST = ("pixels", "contour", "rect")
"""What the largest component is the largest by: see `largest_component`."""

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


def peak(heat: Heat) -> tuple[int, int] | None:
    """The pixel (x, y) of the maximum, the first in reading order of equals; None where nothing is above zero."""
    values = np.where(np.isnan(heat), -np.inf, heat)
    index = int(values.argmax())
    if not values.flat[index] > 0:
        return None
    return index % heat.shape[1], index // heat.shape[1]


def mask(heat: Heat, fraction: float = 0.15) -> Mask:
    """Pixels of at least `fraction` (0 to 1) of the maximum; none where nothing is above zero."""
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction {fraction} isn't between 0 and 1")
    values = np.where(np.isnan(heat), -np.inf, heat)
    highest = values.max()
    if not highest > 0:
        return np.zeros(heat.shape, dtype=bool)
    return np.asarray((values >= fraction * highest) & (values > 0))


def components(region: Mask) -> tuple[NDArray[np.int32], int]:
    """Labels (height, width), from 1 in reading order, of the connected components (8 neighbours), and how many."""
    labels, count = ndimage.label(region, structure=_EIGHT_NEIGHBOURS)
    return labels, int(count)


def largest_component(region: Mask, largest: str = "pixels") -> Mask:
    """The connected component (8 neighbours) that is the largest, by one of three conventions.

    - `pixels`: has the most pixels; of equals the first in reading order
    - `contour`: the polygon through the centres of its outer border's pixels has the largest area, as
      OpenCV's `contourArea` has it: what is in its holes counts, and a line has none; of equals the last
    - `rect`: its bounding box has the largest area; of equals the last

    The last is the one that OpenCV lists first. Raises ValueError for another convention.
    """
    if largest not in LARGEST:
        raise ValueError(f"no convention {largest!r} of what is largest; choose one of {', '.join(LARGEST)}")
    labels, count = components(region)
    if count < 2:
        return region
    if largest == "contour":
        return _of_largest_contour(region, labels, count)
    if largest == "pixels":
        sizes = np.bincount(labels.ravel())
        sizes[0] = 0
        return np.asarray(labels == sizes.argmax())
    boxes = extents(labels, count)
    sizes = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return np.asarray(labels == _last_maximum(sizes) + 1)


def holes(region: Mask) -> tuple[NDArray[np.int32], int]:
    """Labels (height, width), from 1, of what is not in the region and cut off from outside (4 neighbours)."""
    labels, count = ndimage.label(np.pad(~region, 1, constant_values=True))  # 1 is the outside
    return np.maximum(labels[1:-1, 1:-1] - 1, 0), int(count) - 1


def extent(region: Mask) -> PixelBox | None:
    """The box (x0, y0, x1, y1), x1 and y1 exclusive, around a region; None around nothing."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    if not rows.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def extents(labels: NDArray[np.int32], count: int) -> Boxes:
    """The boxes (count, 4) around the pixels of each label from 1 on, none of which is missing."""
    if not count:
        return np.zeros((0, 4), dtype=np.int64)
    lit = np.flatnonzero(labels)
    owner = labels.ravel()[lit]
    by_owner = np.argsort(owner.astype(np.uint16) if count < 2**16 else owner, kind="stable")  # 16 bits sort faster
    starts = np.searchsorted(owner[by_owner], np.arange(1, count + 1))
    ys, xs = np.divmod(lit[by_owner], labels.shape[1])
    first, last = np.minimum.reduceat, np.maximum.reduceat
    return np.stack([first(xs, starts), ys[starts], last(xs, starts) + 1, last(ys, starts) + 1], axis=1)


def box(heat: Heat, fraction: float = 0.15, largest: str = "pixels") -> PixelBox | None:
    """The box (x0, y0, x1, y1), x1 and y1 exclusive, around the largest component above `fraction` of the maximum.

    Selvaraju et al., arXiv 1610.02391, section 4.1, with 0.15; the paper does not say what `largest` is
    by (see `largest_component`). None for an empty map.
    """
    return extent(largest_component(mask(heat, fraction), largest))


def iou(boxes: ArrayLike, others: ArrayLike, *, inclusive: bool = False) -> NDArray[np.float64]:
    """The intersection over union (n, m) of boxes (x0, y0, x1, y1) with others; of two without area 0.

    The ends are exclusive, so a side is x1 - x0 long; where they are `inclusive` pixels, x1 - x0 + 1.
    """
    extra = float(inclusive)
    a = np.asarray(boxes, dtype=np.float64).reshape(-1, 1, 4)
    b = np.asarray(others, dtype=np.float64).reshape(1, -1, 4)
    shared = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + extra
    both = shared.clip(0).prod(-1)
    either = (a[..., 2:] - a[..., :2] + extra).prod(-1) + (b[..., 2:] - b[..., :2] + extra).prod(-1) - both
    return np.asarray(np.divide(both, either, out=np.zeros_like(both), where=either > 0))


def _of_largest_contour(region: Mask, labels: NDArray[np.int32], count: int) -> Mask:
    """The component, one of several, around which the polygon through its outer border's pixels is the largest.

    The polygon is made of the squares between four pixels that are in it, and of halves of those between
    three. A component in another's hole has less than that other, so holes are filled with what is in them.
    """
    filled, outlined = region, labels
    corners = _corners(filled)
    if count > _less_holes(filled, corners):
        filled = region | (holes(region)[0] > 0)
        outlined, count = components(filled)
        corners = _corners(filled)
    inside = corners[1:-1, 1:-1]
    diagonal = np.maximum(outlined[1:, 1:], outlined[:-1, :-1])  # where one at least of any three pixels is
    whole, half = (np.bincount(diagonal[inside == met], minlength=count + 1)[1:] for met in (4, 3))
    best = outlined == _last_maximum(whole + half / 2) + 1
    return np.asarray(labels == labels[best][0])


def _corners(region: Mask) -> NDArray[np.uint8]:
    """How many of the four pixels that meet at each corner of pixels (height + 1, width + 1) are in the region."""
    bits = np.pad(region, 1).view(np.uint8)
    pairs = bits[:, 1:] + bits[:, :-1]
    return pairs[1:] + pairs[:-1]


def _less_holes(region: Mask, corners: NDArray[np.uint8]) -> int:
    """How many components there are, less the holes in them: Euler's number, from what meets at the corners."""
    touching = (corners[1:-1, 1:-1] == 2) & (region[1:, 1:] == region[:-1, :-1])
    one, three = (np.count_nonzero(corners == met) for met in (1, 3))
    return int(one - three - 2 * np.count_nonzero(touching)) // 4


def _last_maximum(values: NDArray[Any]) -> int:
    return int(len(values) - 1 - values[::-1].argmax())
