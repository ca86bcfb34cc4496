"""MaxBoxAcc: how many maps give a right box at the one threshold that is best for the whole data set.

Choe et al., *Evaluating Weakly Supervised Object Localization Methods Right*, CVPR 2020, arXiv 2001.08437: a map is
boxed at each threshold as `contours` has it, and right where it overlaps a true box of the class with an IoU of 0.5.
MaxBoxAccV2 (the paper's journal version, arXiv 2007.04178) takes all contours' boxes, of which one must be right, and
the mean over an IoU of 0.3, 0.5 and 0.7, each with its own threshold.

The class is given, so what is predicted doesn't count. The threshold is chosen on the pictures that are judged, as the
paper does after it has chosen all else on others: no figure of a map at a fixed threshold is as high. A map that is
even, or empty, is judged by the box [0, 0, 0, 0], as there.

What differs: the cubic interpolation is torch's, which agrees with OpenCV's to 5e-5 of the range; what the model could
not see is the map's lowest.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sightline import contours
from sightline.errors import MetricError
from sightline.regions import iou
from sightline.trials import Trial, Values

IOU = 0.5
IOUS = (0.3, 0.5, 0.7)


def max_box_acc(trial: Trial, *, step: float = 0.01) -> NDArray[np.float64] | None:
    """The best IoU, at each threshold (1 / step,) from 0 on, of the box of the largest contour.

    None where the class has no box, or all its instances are marked as difficult. Raises MetricError for a step
    that isn't above 0 and up to 1.
    """
    return _best(trial, step, every=False)


def max_box_acc_v2(trial: Trial, *, step: float = 0.01) -> NDArray[np.float64] | None:
    """The best IoU, at each threshold, of any contour's box; else as max_box_acc."""
    return _best(trial, step, every=True)


def accuracy(values: Values, labels: Sequence[str]) -> float:
    """The highest share of right boxes at one threshold, in per cent."""
    return float(_shares(values, IOU).max())


def best_threshold(values: Values, labels: Sequence[str]) -> float:
    """The threshold at which it is highest, the lowest of equals."""
    rows = accuracy_by_threshold(values, labels)
    return float(rows[rows[:, 1].argmax(), 0])


def accuracy_by_threshold(values: Values, labels: Sequence[str]) -> NDArray[np.float64]:
    """Rows of a threshold and the share of right boxes there, in per cent."""
    steps = values.shape[1]
    return np.stack([np.arange(steps) / steps, _shares(values, IOU)], 1)


def accuracy_v2(values: Values, labels: Sequence[str]) -> float:
    """The mean over the three IoUs of the highest share of right boxes at one threshold, in per cent."""
    return float(np.mean([_shares(values, each).max() for each in IOUS]))


def accuracy_at_30(values: Values, labels: Sequence[str]) -> float:
    """The same where an IoU of 0.3 is right."""
    return float(_shares(values, 0.3).max())


def accuracy_at_70(values: Values, labels: Sequence[str]) -> float:
    """The same where an IoU of 0.7 is right."""
    return float(_shares(values, 0.7).max())


def _shares(values: Values, right: float) -> NDArray[np.float64]:
    return np.asarray(100 * (values >= right).mean(0))


def _best(trial: Trial, step: float, *, every: bool) -> NDArray[np.float64] | None:
    if not 0 < step <= 1:
        raise MetricError(f"thresholds are a step above 0 and up to 1 apart, got step={step}")
    truth = trial.truth
    if truth is None or not truth.boxes or truth.difficult:
        return None
    picture = trial.sample.picture.size
    truths = [contours.truth_box(box, picture) for box in truth.boxes]
    scores = contours.stretched(contours.square(trial.raw, trial.framing))
    found = contours.boxes(scores, np.arange(0, 1, step), every=every)
    return np.array([iou(boxes, truths, inclusive=True).max() for boxes in found])
