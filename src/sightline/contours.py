"""Boxes as the evaluation of weakly supervised localization takes them from maps, without OpenCV.

Choe et al., *Evaluating Weakly Supervised Object Localization Methods Right*, CVPR 2020, arXiv 2001.08437, and its
code. Much of the result is convention, kept here to the pixel: a map of the whole picture is resized to a square
by cubic interpolation (a = -0.75, no smoothing), stretched to 0..1, rounded down to 256 levels, cut strictly above a
share of the highest level, and boxed; and a box ends one pixel after its region, except at the picture's edge, yet
that end is compared as if it were in it.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from sightline.geometry import Box, Framing
from sightline.regions import Boxes, Heat, Mask, PixelBox, components, extent, extents, holes, largest_component

SIDE = 224
ROUNDING = 64  # steps of the last digit


def square(raw: Tensor, framing: Framing, side: int = SIDE) -> Heat:
    """A raw map (h, w) -> (side, side) spread over the whole picture, cubic; NaN where the model could not look.

    Where the model sees a part of the picture, the map is resized to the pixels of that part and put in place
    by linear interpolation; the paper's models see all of it.
    """
    across, down = side / framing.picture[0], side / framing.picture[1]
    x0, y0, x1, y1 = framing.seen
    seen = (x0 * across, y0 * down, x1 * across, y1 * down)
    size = max(1, round(seen[3] - seen[1])), max(1, round(seen[2] - seen[0]))
    wide = interpolate(raw[None, None].float(), size, mode="bicubic", align_corners=False)[0, 0]
    if framing.seen != (0, 0, *framing.picture):
        wide = Framing(picture=(side, side), image=(size[1], size[0]), seen=seen).to_picture(wide)
    return np.asarray(wide.cpu())


def stretched(heat: Heat) -> Heat:
    """A map between 0, its minimum, and 1, its maximum; 0 where it is NaN, and all of it where it is even.

    What the rounding of interpolation makes of an even map is even.
    """
    seen = heat[~np.isnan(heat)]
    if not seen.size or np.ptp(seen) <= ROUNDING * np.finfo(heat.dtype).eps * np.abs(seen).max():
        return np.zeros_like(heat)
    above = heat - seen.min()
    return np.asarray(np.nan_to_num(above / np.nanmax(above), nan=0.0))


def boxes(scores: Heat, thresholds: Iterable[float], *, every: bool = False) -> list[Boxes]:
    """For each threshold (0 to 1) the boxes (n, 4), as x0, y0, x1, y1, of a map of scores (height, width) in 0..1.

    One box around the contour of the largest area, or around `every` contour: each component's and each
    hole's. [0, 0, 0, 0] where nothing is above the threshold. Raises ValueError for scores that are NaN or
    outside 0..1.
    """
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(f"scores from {scores.min()} to {scores.max()}; expected 0 to 1, as `stretched` gives them")
    levels = (scores * 255).astype(np.uint8)
    highest = int(levels.max())
    cuts = [int(threshold * highest) for threshold in thresholds]
    ends = levels.max(1), levels.max(0)
    found = {cut: _boxes_above(levels, ends, cut, every) for cut in set(cuts)}
    return [found[cut] for cut in cuts]


def truth_box(box: Box, picture: Sequence[int], side: int = SIDE) -> PixelBox:
    """A true box, ends exclusive, of a picture of (width, height) -> its first and last pixels in the square."""
    across, down = side / picture[0], side / picture[1]
    x0, y0, x1, y1 = box
    last = np.ceil([x1, y1]) - 1
    return int(x0 * across), int(y0 * down), int(last[0] * across), int(last[1] * down)


def _boxes_above(levels: NDArray[np.uint8], ends: Sequence[NDArray[np.uint8]], cut: int, every: bool) -> Boxes:
    """The boxes of what is above a level; `ends` are the highest levels of each row and each column."""
    rows, columns = (np.flatnonzero(each > cut) for each in ends)
    if not rows.size:
        return np.zeros((1, 4), dtype=np.int64)
    top, left = rows[0], columns[0]
    region = levels[top : rows[-1] + 1, left : columns[-1] + 1] > cut
    found = _every_box(region) if every else np.array([extent(largest_component(region, "contour"))])
    height, width = levels.shape
    moved = found + np.array([left, top, left, top])
    return np.asarray(np.minimum(moved, [width, height, width - 1, height - 1]))


def _every_box(region: Mask) -> Boxes:
    """The boxes of all components and, as a hole's contour runs through the pixels around it, of all holes."""
    return np.concatenate([extents(*components(region)), extents(*holes(region)) + np.array([-1, -1, 1, 1])])
