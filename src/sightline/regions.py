"""Regions: a map in the picture's pixels -> peak, mask, component, box.

Maps are float arrays (height, width); NaN, where the model could not look, belongs to no region.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Heat = NDArray[np.floating]
Mask = NDArray[np.bool_]
PixelBox = tuple[int, int, int, int]

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


def largest_component(region: Mask) -> Mask:
    """The connected component (8 neighbours) with the most pixels, the first in reading order of equals."""
    labels, count = ndimage.label(region, structure=_EIGHT_NEIGHBOURS)
    if not count:
        return region
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def box(heat: Heat, fraction: float = 0.15) -> PixelBox | None:
    """The box (x0, y0, x1, y1), x1 and y1 exclusive, around the largest component above `fraction` of the maximum.

    Selvaraju et al., arXiv 1610.02391, section 4.1, with 0.15. None for an empty map.
    """
    component = largest_component(mask(heat, fraction))
    rows, columns = np.flatnonzero(component.any(1)), np.flatnonzero(component.any(0))
    if not rows.size:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
