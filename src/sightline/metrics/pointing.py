"""The pointing game: whether a map's highest pixel lies on the object, or near it.

Zhang et al., *Top-down Neural Attention by Excitation Backprop*, 2016, arXiv 1608.00507, by the rule
of TorchRay (Fong, Patrick and Vedaldi, arXiv 1910.08485): in the picture's pixels, a hit where some
pixel of the object lies at a squared distance strictly below that of the tolerance. For its numbers
take ties=first, on VOC region=boxes, and for gradient, deconvnet and guided backprop smooth=0.02.

What differs: where several pixels share the maximum (a map whose highest cell lies at the border has
a plateau there), the trial counts by the share of them that hit, so that an even map gets no more
than chance; TorchRay takes the first. Classes without trials are left out of the mean per class, where
TorchRay has them as 0. Its "difficult" figure is read from flags that came with the first paper; ours
takes classes that cover less than a quarter of a picture in which there is another class.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sightline.errors import MetricError
from sightline.metrics.marked import counted, marked
from sightline.metrics.percent import class_percent
from sightline.regions import Heat, Mask
from sightline.trials import Trial, Values

Points = NDArray[np.intp]  # (n, 2): row and column
TIES = ("expected", "first")
SMALL = 1 / 4  # of the picture


def pointing(
    trial: Trial,
    *,
    tolerance: float = 15,
    ties: str = "expected",
    region: str = "mask",
    smooth: float = 0.0,
    difficult: bool = False,
) -> tuple[float, float, float] | None:
    """How far the highest pixels hit (0 to 1), whether the class is small among others, whether several tie.

    `tolerance` is in the picture's pixels, 0 for the object alone; `smooth` a Gaussian's share of the
    picture's longer side. None where the map is nowhere above zero, the object has no pixel, or,
    unless `difficult`, all its instances are marked as difficult. Raises MetricError for other options.
    """
    if tolerance < 0 or ties not in TIES or smooth < 0:
        raise MetricError(
            f"pointing takes a tolerance and smooth of 0 or more and ties of {' or '.join(TIES)}; "
            f"got tolerance={tolerance}, smooth={smooth}, ties={ties}"
        )
    truth = trial.truth
    if truth is None or (truth.difficult and not difficult):
        return None
    inside = marked(truth, trial.sample.picture.size, region)
    found = peaks(smoothed(counted(trial.heat, truth, region), smooth))
    if not len(found) or not inside.any():
        return None
    hits = near(inside, found if ties == "expected" else found[:1], tolerance)
    small = inside.mean() < SMALL and any(other.label != truth.label for other in trial.sample.truths)
    return float(hits.mean()), float(small), float(len(found) > 1)


def small_among_others(values: Values, labels: Sequence[str]) -> float:
    """The mean per class, in per cent, over classes that are small among others; NaN where there are none."""
    chosen = values[:, 1] > 0
    if not chosen.any():
        return math.nan
    return class_percent(values[chosen], np.array(labels)[chosen].tolist())


def tied(values: Values, labels: Sequence[str]) -> float:
    """How many maps have more than one highest pixel, in per cent."""
    return 100 * float(values[:, 2].mean())


def peaks(heat: Heat) -> Points:
    """A map's highest pixels in reading order; none where nothing is above zero. NaN is passed over."""
    highest = np.fmax.reduce(heat, axis=None)
    return np.argwhere(heat == highest) if highest > 0 else np.empty((0, 2), dtype=np.intp)


def near(region: Mask, points: Points, tolerance: float) -> NDArray[np.bool_]:
    """Whether a pixel of the region lies nearer than the tolerance to each point; below 1, whether at the point."""
    reach = math.ceil(tolerance)
    corner = np.maximum(points.min(0) - reach, 0)
    top, left = corner
    bottom, right = points.max(0) + reach + 1
    window = region[top:bottom, left:right]
    if not window.any():
        return np.zeros(len(points), dtype=bool)
    distances = ndimage.distance_transform_edt(~window)
    return np.asarray(distances[tuple((points - corner).T)] < max(tolerance, 1))


def smoothed(heat: Heat, share: float) -> Heat:
    """The map after a Gaussian of a share of its longer side, cut at four times that, with 0 around it."""
    if not share:
        return heat
    unseen = np.isnan(heat)
    sigma = share * max(heat.shape)
    blurred = ndimage.gaussian_filter(np.where(unseen, 0, heat), sigma, mode="constant", radius=math.ceil(4 * sigma))
    return np.where(unseen, np.nan, blurred)
