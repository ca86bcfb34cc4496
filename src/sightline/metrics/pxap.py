"""PxAP: the average precision of a map as a guess, pixel by pixel, of where the object is.

Choe et al., *Evaluating Weakly Supervised Object Localization Methods Right*, CVPR 2020, arXiv 2001.08437: each map,
stretched to 0..1 in a square of 224 pixels, is counted into steps of 0.01, the object's pixels and others apart; the
counts of all pictures are added up before precision and recall are taken, so a large object weighs more than a small
one. The area is a sum of steps, P_i (R_i - R_i-1) from the highest threshold on, R_0 = 0.

What the truth leaves open is left out, but for the object's own pixels. An even map counts with all pixels at 0, as
there: it gets the share of the object's pixels, which is chance. What the model could not see is the map's lowest.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sightline import contours
from sightline.errors import MetricError
from sightline.regions import Mask
from sightline.trials import Trial, Values


def pxap(trial: Trial, *, step: float = 0.01) -> NDArray[np.float64] | None:
    """How many of the object's pixels, and then of the others, are at each step from 0 on, the last at 1 itself.

    None where the class has no mask, or nothing of it is left in the square. Raises MetricError for a step that
    isn't above 0 and up to 1.
    """
    if not 0 < step <= 1:
        raise MetricError(f"pxap counts in steps above 0 and up to 1, got step={step}")
    truth = trial.truth
    if truth is None or truth.mask is None:
        return None
    inside = _square(truth.mask)
    if not inside.any():
        return None
    outside = ~inside if truth.ignore is None else ~inside & ~_square(truth.ignore)
    scores = contours.stretched(contours.square(trial.raw, trial.framing))
    edges = np.append(np.arange(0, 1, step), [1, 2])
    counts = [np.histogram(scores[part], edges)[0] for part in (inside, outside)]
    return np.concatenate(counts).astype(np.float64)


def average_precision(values: Values, labels: Sequence[str]) -> float:
    """The area under precision by recall over all trials' pixels, in per cent."""
    inside, outside = values.sum(0).reshape(2, -1)[:, ::-1].cumsum(1)
    found = inside + outside
    precision = np.divide(inside, found, out=np.zeros_like(inside), where=found > 0)
    recall = inside / inside[-1]
    return 100 * float((precision * np.diff(recall, prepend=0)).sum())


def chance(values: Values, labels: Sequence[str]) -> float:
    """What an even map gets: the share of the pixels that are the objects', in per cent."""
    inside, outside = values.sum(0).reshape(2, -1).sum(1)
    return 100 * float(inside / (inside + outside))


def _square(mask: Mask) -> Mask:
    """A mask in the square: the pixel in which each of the square's begins, as OpenCV takes the nearest."""
    rows, columns = (np.arange(contours.SIDE) * size // contours.SIDE for size in mask.shape)
    return mask[np.ix_(rows, columns)]
