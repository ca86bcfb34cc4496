"""Seed mIoU: how well the maps of all classes in a picture, put together, segment it.

Seeds are taken as IRN does (Ahn et al., CVPR 2019, arXiv 1904.05044, and its code; see sightline.seeds): of the
classes in the picture, which are given, the one whose map is highest as a share of its maximum, or the background at
a constant 0.15. Pixels are added up over the data set, and the IoU is the mean over the classes and the background.

Published figures take the background's score at its best on the pictures that are judged; that is here the further
figure, and 0.15 the first. They are of maps at several scales and flips, on VOC 2012's 1464 training pictures.

What differs: truths may overlap here, and count for both classes, so one of them can't be right. A class that wasn't
asked about, as the model doesn't know it, is background.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sightline.errors import MetricError
from sightline.seeds import winners
from sightline.trials import Trial, Values

BACKGROUND = "background"
CURVE = tuple(round(0.05 * step, 2) for step in range(1, 13))


def seed_miou(trials: Sequence[Trial], *, background: float = 0.15) -> dict[str, NDArray[np.float64] | None]:
    """Each class's pixels, and the background's: found, found where they aren't, and missed (39,).

    Three numbers at `background` (0 to 1), then at each of 0.05, 0.10, ... 0.60. What any truth of the picture
    ignores is left out. None where a class has no mask. Raises MetricError for another background.
    """
    if not 0 <= background <= 1:
        raise MetricError(f"the background's score is 0 to 1, got background={background}")
    masks = [None if trial.truth is None else trial.truth.mask for trial in trials]
    known = [mask for mask in masks if mask is not None]
    if not known or len(known) < len(masks):
        return {trial.label: None for trial in trials}
    ignored = [truth.ignore for truth in trials[0].sample.truths if truth.ignore is not None]
    judged = ~np.any([np.zeros_like(known[0]), *ignored], axis=0)
    places, scores = winners({trial.label: trial.heat for trial in trials})
    levels = np.array([background, *CURVE], dtype=scores.dtype)

    def above(chosen: NDArray[np.bool_]) -> NDArray[np.intp]:
        """How many of the chosen pixels have a score above each level."""
        ranked = np.sort(scores[chosen & judged])
        return len(ranked) - np.searchsorted(ranked, levels, side="right")

    counts = {}
    for place, (trial, mask) in enumerate(zip(trials, known, strict=True), start=1):
        found, wrong = above(mask & (places == place)), above(~mask & (places == place))
        counts[trial.label] = found, wrong, (mask & judged).sum() - found
    thing = np.any(known, axis=0)
    over, under = above(~thing), above(thing)
    counts[BACKGROUND] = (~thing & judged).sum() - over, (thing & judged).sum() - under, over
    return {label: np.stack(np.broadcast_arrays(*each), 1).astype(np.float64).ravel() for label, each in counts.items()}


def miou(values: Values, labels: Sequence[str]) -> float:
    """The mean IoU over classes and background, in per cent, at the background asked for."""
    return float(_mious(values, labels)[0])


def best_miou(values: Values, labels: Sequence[str]) -> float:
    """The highest at one background for all pictures, chosen on these very pictures."""
    return float(_mious(values, labels)[1:].max())


def best_background(values: Values, labels: Sequence[str]) -> float:
    """The background at which it is highest, the lowest of equals."""
    return CURVE[int(_mious(values, labels)[1:].argmax())]


def by_background(values: Values, labels: Sequence[str]) -> NDArray[np.float64]:
    """Rows of a background and the mean IoU there, in per cent."""
    return np.stack([np.array(CURVE), _mious(values, labels)[1:]], 1)


def _mious(values: Values, labels: Sequence[str]) -> NDArray[np.float64]:
    """The mean IoU at each level; a class that is nowhere, neither true nor found, is left out."""
    names, owner = np.unique(np.array(labels), return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, owner, values)
    found, wrong, missed = sums.reshape(len(names), -1, 3).transpose(2, 0, 1)
    either = found + wrong + missed
    shares = np.divide(found, either, out=np.full_like(found, np.nan), where=either > 0)
    return np.asarray(100 * np.nanmean(shares, axis=0))
