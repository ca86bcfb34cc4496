"""ROAD, remove and debias: the confidence as pixels are imputed from their neighbours, in both orders.

Rong et al., *A Consistent and Efficient Evaluation Strategy for Attribution Methods*, ICML 2022, arXiv
2202.00449. The figure is pytorch-grad-cam's ROADCombined, (LeRF - MoRF) / 2: half of what
taking the least relevant pixels first leaves more than taking the most relevant first. The paper's own
curves are of accuracy (measure=accuracy).

What differs: budgets are counts of pixels, equal values in an order that is drawn. pytorch-grad-cam
compares with a percentile's value, and where a map is zero nearly everywhere that removes the whole
image. Mind that ROAD favours blurry maps, whatever they show: compare with the blurred noise.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.errors import MetricError
from sightline.metrics.imputation import imputed
from sightline.metrics.order import order
from sightline.trials import Trial, Values

MEASURES = ("confidence", "accuracy")
NOISE = 0.01  # sigma, of the normalised image's values
AT_ONCE = 16


def road(trial: Trial, *, steps: int = 10, measure: str = "confidence") -> tuple[float, ...] | None:
    """The confidences (0 to 1) with 1, 2, ... `steps` - 1 of `steps` parts removed, most relevant first, then least.

    By "accuracy", 1 where the class is the one predicted, else 0. None where the map is zero everywhere. Raises
    MetricError for other options.
    """
    if steps < 2 or measure not in MEASURES:
        raise MetricError(
            f"road takes 2 steps or more and a measure of {' or '.join(MEASURES)}; got steps={steps}, measure={measure}"
        )
    if not trial.raw.any():
        return None
    generator = trial.generator()
    pixels = trial.map.numel()
    place = order(trial.map, generator).argsort().view(trial.map.shape)
    images = []
    for most in (True, False):
        for step in range(1, steps):
            count = pixels * step // steps
            removed = place < count if most else place >= pixels - count
            noise = NOISE * torch.randn(trial.image.shape, generator=generator)
            images.append(imputed(trial.image, removed) + (removed * noise).to(trial.image))
    parts = torch.split(torch.stack(images), AT_ONCE)
    if measure == "confidence":
        found = torch.cat([trial.confidence(part) for part in parts])
    else:
        found = torch.cat([(trial.logits(part).argmax(1) == trial.index).float() for part in parts])
    return tuple(found.double().tolist())


def combined(values: Values, labels: Sequence[str]) -> float:
    """(LeRF - MoRF) / 2, -0.5 to 0.5."""
    return (lerf(values, labels) - morf(values, labels)) / 2


def morf(values: Values, labels: Sequence[str]) -> float:
    """The mean over budgets, the most relevant removed first: the lower the better."""
    return float(np.split(values, 2, axis=1)[0].mean())


def lerf(values: Values, labels: Sequence[str]) -> float:
    """The mean over budgets, the least relevant removed first: the higher the better."""
    return float(np.split(values, 2, axis=1)[1].mean())


def by_budget(values: Values, labels: Sequence[str]) -> NDArray[np.float64]:
    """Rows of a share of pixels removed, MoRF and LeRF there."""
    most, least = np.split(values.mean(0), 2)
    return np.stack([np.arange(1, len(most) + 1) / (len(most) + 1), most, least], 1)
