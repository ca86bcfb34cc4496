"""Increase in confidence: how often the class is more certain when only what the map shows is seen.

Chattopadhay et al., *Grad-CAM++*, WACV 2018, arXiv 1710.11063, section 4.1; Score-CAM's is mask=half
(see explanation_map.py).
"""

from sightline.metrics.explanation_map import confidences
from sightline.trials import Trial


def increase(trial: Trial, *, mask: str = "soft", fill: str = "mean") -> tuple[float] | None:
    """1 where O > Y, the confidences in the explanation map and in the image, else 0.

    None where there is no such map (see `confidences`).
    """
    found = confidences(trial, mask, fill)
    return None if found is None else (float(found[1] > found[0]),)
