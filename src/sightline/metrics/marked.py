"""The pixels that are marked as a class, and those of a map that count: what both localisation and energy compare."""

import numpy as np

from sightline.errors import MetricError
from sightline.regions import Heat, Mask
from sightline.trials import Truth

REGIONS = ("mask", "boxes")


def marked(truth: Truth, size: tuple[int, int], region: str) -> Mask:
    """The pixels (height, width) of a class in a picture of `size` (width, height).

    By "mask" those of its mask, or where it has none the union of its boxes; by "boxes" that union.
    Raises MetricError for another region.
    """
    if region not in REGIONS:
        raise MetricError(f"region={region} is none of {', '.join(REGIONS)}")
    if region == "boxes":
        truth = Truth(truth.label, truth.boxes)
    return truth.region(size)


def counted(heat: Heat, truth: Truth, region: str) -> Heat:
    """The map with NaN where its pixels count neither way: those to be ignored, which only masks have."""
    if truth.ignore is None or region == "boxes":
        return heat
    return np.where(truth.ignore, np.nan, heat)
