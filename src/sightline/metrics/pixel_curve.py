"""Insertion and deletion: the confidence as pixels come or go in the map's order, the highest first.

Petsiuk, Das and Saenko, *RISE*, BMVC 2018, arXiv 1806.07421, as in the authors' code: the class's
probability after each step, pixels going to the mean colour or coming into a blurred image, and
the area under the curve by trapezoids, shares of pixels from 0 to 1. Their figures move with the step: their
batches take 28 at 224 x 224, as is done here, their single runs 224. Score-CAM's are steps=100, and
black for fill and start (Wang et al., 2020, arXiv 1910.01279).

What differs: the class is the one asked about, where theirs is the one predicted; equal values
come in an order that is drawn, where theirs come from the last pixel up.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.errors import MetricError
from sightline.metrics.blank import blank
from sightline.metrics.order import order
from sightline.trials import Trial, Values

AT_ONCE = 16


def deletion(trial: Trial, *, steps: int = 28, fill: str = "mean", relative: bool = False) -> tuple[float, ...] | None:
    """The confidences (0 to 1) after 0, 1, ... `steps` steps that each take away as many of the highest pixels.

    `relative` to that of the image. None where the map is zero everywhere or, if relative, the image has no
    confidence. Raises MetricError for fewer steps than 1 or an unknown fill (see blank.py).
    """
    curve = _curve(trial, trial.image, blank(trial, fill), steps)
    return _over(curve, 0) if relative else curve


def insertion(
    trial: Trial, *, steps: int = 28, start: str = "blur", relative: bool = False
) -> tuple[float, ...] | None:
    """As `deletion`, of the image's pixels that come into what is there at the start."""
    curve = _curve(trial, blank(trial, start), trial.image, steps)
    return _over(curve, -1) if relative else curve


def area(values: Values, labels: Sequence[str]) -> float:
    """The mean area under the trials' curves."""
    return float(((values[:, 1:] + values[:, :-1]) / 2).mean())


def confidence_by_share(values: Values, labels: Sequence[str]) -> NDArray[np.float64]:
    """Rows of a share of pixels and the mean confidence there."""
    return np.stack([np.linspace(0, 1, values.shape[1]), values.mean(0)], 1)


def _curve(trial: Trial, before: Tensor, after: Tensor, steps: int) -> tuple[float, ...] | None:
    """The confidences on the way from one image to the other."""
    if steps < 1:
        raise MetricError(f"insertion and deletion take 1 step or more, got steps={steps}; leave it out for 28")
    if not trial.raw.any():
        return None
    pixels = trial.map.numel()
    place = order(trial.map, trial.generator()).argsort().view(trial.map.shape).to(before.device)
    counts = torch.arange(steps + 1, device=before.device) * pixels // steps
    found = [
        trial.confidence(torch.where((place < count[:, None, None])[:, None], after, before))
        for count in torch.split(counts, AT_ONCE)
    ]
    return tuple(torch.cat(found).tolist())


def _over(curve: tuple[float, ...] | None, at: int) -> tuple[float, ...] | None:
    """A curve over what it is where the image is whole."""
    if curve is None or not curve[at] > 0:
        return None
    return tuple(confidence / curve[at] for confidence in curve)
