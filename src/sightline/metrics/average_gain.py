"""Average Gain: how much of the confidence that was missing is gained when only what the map shows is seen.

Zhang et al., *Opti-CAM*, 2023, arXiv 2301.07002: the counterpart of the drop, as Increase only
counts.
"""

from sightline.metrics.explanation_map import confidences
from sightline.trials import Trial


def average_gain(trial: Trial, *, mask: str = "soft", fill: str = "mean") -> tuple[float] | None:
    """max(0, O - Y) / (1 - Y) of the confidences Y in the image and O in its explanation map, 0 to 1.

    None where there is no such map (see `confidences`), or nothing to gain.
    """
    found = confidences(trial, mask, fill)
    if found is None or not found[0] < 1:
        return None
    before, after = found
    return (max(after - before, 0) / (1 - before),)
