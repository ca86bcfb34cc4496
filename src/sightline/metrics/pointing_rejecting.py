"""The pointing game of the Grad-CAM paper, in which a map may say that its class isn't there.

Selvaraju et al., IJCV 2020, arXiv 1610.02391, section 4.3: one map for each of the five classes
predicted. Where its maximum is below a threshold t the class is rejected, which is right where it is
absent; where it is kept, its highest pixel has to lie on the object, which an absent class has none of.

The paper doesn't say what t is, nor how it was chosen. Here all thresholds make a curve; the figure is
of t chosen on the first half of the trials and held to on the second. Mind what rejecting everything
gets: most of five predictions are of absent classes. Thresholds compare maps from picture to picture,
so maps are raw. Of several highest pixels the share on the object counts.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sightline.metrics.marked import counted, marked
from sightline.metrics.pointing import peaks
from sightline.trials import Trial, Values

STEPS = 100  # of the curve


def pointing_rejecting(trial: Trial, *, region: str = "mask") -> tuple[float, float, float] | None:
    """How far the highest pixels are on the object (0 to 1), whether it is there, the raw map's maximum, 0 or more.

    An empty map has the maximum 0: rejected by every t above 0; at t = 0, which keeps all, it points
    nowhere and is wrong either way. None where the object has no pixel or is all marked as difficult.
    """
    truth, maximum = trial.truth, max(float(trial.raw.max()), 0.0)
    if truth is None:
        return 0.0, 0.0, maximum
    inside = marked(truth, trial.sample.picture.size, region)
    if truth.difficult or not inside.any():
        return None
    found = peaks(counted(trial.heat, truth, region))
    hit = float(inside[tuple(found.T)].mean()) if len(found) else 0.0
    return hit, 1.0, maximum


def accuracy(values: Values, threshold: float) -> float:
    """The share of trials that are right at a threshold, in per cent."""
    hit, present, maximum = values.T
    return 100 * float(np.where(maximum < threshold, 1 - present, hit).mean())


def thresholds(values: Values) -> NDArray[np.float64]:
    """0, which rejects nothing, the maxima at every hundredth of the trials, and one that rejects everything."""
    maxima = values[:, 2]
    quantiles = np.quantile(maxima, np.linspace(0, 1, STEPS + 1), method="nearest")
    return np.unique([0, *quantiles, np.nextafter(maxima.max(), np.inf)])


def by_threshold(values: Values, labels: Sequence[str]) -> NDArray[np.float64]:
    """Rows of a threshold and its accuracy in per cent."""
    return np.array([(t, accuracy(values, t)) for t in thresholds(values)])


def best(values: Values) -> float:
    """The threshold of the highest accuracy, the lowest of equals; 0 where there are no trials."""
    if not len(values):
        return 0.0
    rows = by_threshold(values, ())
    return float(rows[rows[:, 1].argmax(), 0])


def held_out(values: Values, labels: Sequence[str]) -> float:
    """The accuracy on the second half of the trials at the threshold that is best on the first."""
    half = len(values) // 2
    return accuracy(values[half:], best(values[:half]))


def optimistic(values: Values, labels: Sequence[str]) -> float:
    """The accuracy at the threshold that is best for these same trials."""
    return accuracy(values, best(values))


def keeping_all(values: Values, labels: Sequence[str]) -> float:
    """The accuracy where nothing is rejected, t = 0."""
    return accuracy(values, 0)


def rejecting_all(values: Values, labels: Sequence[str]) -> float:
    """The accuracy where everything is: the share of absent classes."""
    return 100 * float(1 - values[:, 1].mean())
