"""Part importance: how much of a map each part of a creature gets, as FunnyBirds takes it (arXiv 2308.06248).

The sum of the map over the part's pixels and those two around them (a window of 5 x 5), in the picture's
pixels; a part is important at a threshold t where it gets more than t of the whole map. Here only what is
above zero counts, unless `signed`, which is what the authors' code does. Signed shares are taken of a
signed total, which can be near zero or below, where every part would be important.

Differs from the authors' code: a part that is seen in two places, as two feet, counts a pixel near both once.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from sightline.regions import Heat
from sightline.trials import Parted

WINDOW = np.ones((5, 5), dtype=bool)
THRESHOLDS = np.linspace(0.01, 0.5, 80)
Numbers = NDArray[np.float64]


def part_importance(heat: Heat, parted: Parted, parts: Sequence[str], *, signed: bool = False) -> Numbers:
    """What each of the parts (n,) gets of a map; pixels that the model didn't see give nothing."""
    values = _counted(heat, signed)
    return np.array([values[binary_dilation(parted.parts[part], WINDOW)].sum() for part in parts])


def important(heat: Heat, parted: Parted, parts: Sequence[str], *, signed: bool = False) -> NDArray[np.bool_] | None:
    """Which parts are important at each threshold (80, n); None where the map's total isn't above zero."""
    total = _counted(heat, signed).sum()
    if not total > 0:
        return None
    share = part_importance(heat, parted, parts, signed=signed) / total
    return np.asarray(share > THRESHOLDS[:, None])


def _counted(heat: Heat, signed: bool) -> Numbers:
    seen = np.nan_to_num(heat.astype(np.float64), nan=0.0)
    return seen if signed else np.maximum(seen, 0)
