"""Localization error: how often the class is wrong, or the box around what is highest misses the object.

The protocol of ILSVRC as Selvaraju et al., *Grad-CAM*, arXiv 1610.02391, section 4.1 and table 1, have it: each of
the model's first five classes is explained, its map cut at 15 % of its maximum, and boxed around the largest segment;
right is a class that is in the picture, with a box that overlaps one of its true boxes with an IoU of 0.5.

Only maps of classes that are in the picture are needed: where such a class is among the first five, its map is the
map of a prediction, and where it isn't, the prediction is wrong whatever its map shows. So a trial gives the best IoU
of the true class's box, and the class's place among the predictions, from which all the figures follow. A map that is
nowhere above zero has no box, and misses.

What differs: the paper doesn't say how it takes the largest segment; here by pixels, unless `largest` says otherwise.
Ends of boxes are exclusive, so an IoU is that of ILSVRC's boxes, whose ends are inclusive and which count x1 - x0 + 1.
"""

from collections.abc import Sequence

from sightline import regions
from sightline.errors import MetricError
from sightline.trials import Trial, Values

FIRST = 5


def localization(
    trial: Trial, *, fraction: float = 0.15, largest: str = "pixels", iou: float = 0.5
) -> tuple[float, float, float] | None:
    """Whether the box overlaps a true box with `iou` or more, by how much, and the class's place from 0.

    The box is the map's in the picture's pixels, of `fraction` of its maximum; `largest` is `pixels`, `contour` or
    `rect` (see regions.largest_component). None where the class has no box, or all its instances are marked as
    difficult. Raises MetricError for other options.
    """
    if not (0 <= fraction <= 1 and 0 < iou <= 1) or largest not in regions.LARGEST:
        raise MetricError(
            f"localization takes a fraction of 0 to 1, an iou above 0 and up to 1, and largest of "
            f"{', '.join(regions.LARGEST)}; got fraction={fraction}, iou={iou}, largest={largest}"
        )
    truth = trial.truth
    if truth is None or not truth.boxes or truth.difficult:
        return None
    box = regions.box(trial.heat, fraction, largest)
    best = 0.0 if box is None else float(regions.iou([box], truth.boxes).max())
    return float(best >= iou), best, float(trial.rank)


def error_among(values: Values, first: int) -> float:
    """The share of trials, in per cent, whose class isn't among the `first` predictions, or whose box misses."""
    right = (values[:, 0] > 0) & (values[:, 2] < first)
    return 100 * float(1 - right.mean())


def top_1(values: Values, labels: Sequence[str]) -> float:
    """The localization error of the first prediction, in per cent."""
    return error_among(values, 1)


def top_5(values: Values, labels: Sequence[str]) -> float:
    """The localization error of the best of the first five predictions, in per cent."""
    return error_among(values, FIRST)


def class_known(values: Values, labels: Sequence[str]) -> float:
    """How many boxes miss, in per cent, whatever is predicted."""
    return 100 * float(1 - values[:, 0].mean())


def mean_iou(values: Values, labels: Sequence[str]) -> float:
    """The mean of the best IoU of each trial, in per cent, whatever is predicted."""
    return 100 * float(values[:, 1].mean())


def class_top_1(values: Values, labels: Sequence[str]) -> float:
    """The classification error of the first prediction, in per cent."""
    return 100 * float((values[:, 2] >= 1).mean())


def class_top_5(values: Values, labels: Sequence[str]) -> float:
    """The classification error of the first five predictions, in per cent."""
    return 100 * float((values[:, 2] >= FIRST).mean())
