"""Parameter randomisation: whether the map depends on what the model has learned.

Adebayo et al., *Sanity Checks for Saliency Maps*, 2018, arXiv 1810.03292, section 3: weights are lost from the
logits down, layer after layer, and each time the map is compared with that of the trained model.
One that stays the same explains the image, not the model: guided backprop's does. They compare by
rank correlation, of signed maps and of absolute ones, and by SSIM, of maps over their largest value.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sightline.errors import MetricError
from sightline.metrics.correlation import spearman
from sightline.metrics.similarity import ssim
from sightline.trials import Trial, Values, in_image

MEASURES = ("spearman", "ssim")


def parameter_randomisation(
    trial: Trial, *, stages: int = 4, measure: str = "spearman", absolute: bool = False
) -> tuple[float, ...] | None:
    """How like the map (-1 to 1) the map is after each of `stages` even shares of the layers lost their weights.

    By "spearman" raw maps, by "ssim" maps in the image's pixels. None where the map, or one of the
    randomised model's, is constant, as a map of positive parts alone may well be. Raises MetricError for
    other options.
    """
    if stages < 1 or measure not in MEASURES:
        raise MetricError(
            f"parameter-randomisation takes 1 stage or more and a measure of {' or '.join(MEASURES)}; "
            f"got stages={stages}, measure={measure}"
        )

    def likeness(a: Tensor, b: Tensor) -> float | None:
        if a.min() == a.max() or b.min() == b.max():
            return None
        if absolute:
            a, b = a.abs(), b.abs()
        if measure == "spearman":
            return spearman(a, b)
        size = trial.image.shape[1:]
        return ssim(in_image(a / a.abs().max(), size), in_image(b / b.abs().max(), size), span=1 if absolute else 2)

    found = []
    for stage in range(1, stages + 1):
        likened = likeness(trial.raw, trial.randomised(stage / stages))
        if likened is None:
            return None
        found.append(likened)
    return tuple(found)


def at_last(values: Values, labels: Sequence[str]) -> float:
    """The mean likeness when all layers are random."""
    return float(values[:, -1].mean())


def over_stages(values: Values, labels: Sequence[str]) -> float:
    """The mean likeness over stages."""
    return float(values.mean())


def by_share(values: Values, labels: Sequence[str]) -> NDArray[np.float64]:
    """Rows of a share of layers and the mean likeness there."""
    stages = values.shape[1]
    return np.stack([np.arange(1, stages + 1) / stages, values.mean(0)], 1)
