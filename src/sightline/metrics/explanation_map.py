"""Explanation maps: the image seen through its own map, and what the model thinks of it.

Chattopadhay et al., *Grad-CAM++*, WACV 2018, arXiv 1710.11063, section 4.1: E = L o I, the map, its
maximum 1, times the image. Wang et al., *Score-CAM*, 2020, arXiv 1910.01279, first limit the map's
positive pixels so that half of the image's pixels are muted: their figures and the first paper's don't
compare.
"""

import torch
from torch import Tensor

from sightline.errors import MetricError
from sightline.metrics.blank import blank
from sightline.metrics.evidence import evidence
from sightline.metrics.order import order
from sightline.trials import Trial

MASKS = ("soft", "half", "min-max")


def confidences(trial: Trial, mask: str, fill: str) -> tuple[float, float] | None:
    """The class's probabilities (0 to 1) in the image and in its explanation map; what is muted goes to `fill`.

    By "soft" masks are the map's positive part over its maximum; by "half", that of the highest half of
    the pixels by count, equals by a draw, and 0 for the others; by "min-max", the map stretched
    to 0 to 1, whatever its sign. None where nothing is above zero, or by "min-max" all values are equal.
    Raises MetricError for another mask or fill (see blank.py).
    """
    shown = _mask(trial, mask)
    if shown is None:
        return None
    left = blank(trial, fill)
    seen = left + shown.to(left) * (trial.image - left)
    before, after = trial.confidence(torch.stack([trial.image, seen])).double().tolist()
    return before, after


def _mask(trial: Trial, mask: str) -> Tensor | None:
    values = trial.map.float()
    if mask == "soft":
        return evidence(values)
    if mask == "half":
        lit = evidence(values)
        if lit is not None:
            muted = order(values, trial.generator())[values.numel() // 2 :]
            lit.view(-1)[muted.to(lit.device)] = 0
        return lit
    if mask == "min-max":
        low, high = values.min(), values.max()
        return (values - low) / (high - low) if high > low else None
    raise MetricError(f"an image is seen through a mask of {', '.join(MASKS)}, not {mask!r}")
