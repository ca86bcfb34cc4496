"""Average Drop: how much of the confidence is lost when only what the map shows is seen.

Chattopadhay et al., *Grad-CAM++*, WACV 2018, arXiv 1710.11063, section 4.1, in per cent of each
image's own confidence; Score-CAM's is mask=half (see explanation_map.py). pytorch-grad-cam's
DropInConfidence is another figure: it isn't divided, and of logits unless told otherwise. An even
map loses nothing.
"""

from sightline.metrics.explanation_map import confidences
from sightline.trials import Trial


def average_drop(trial: Trial, *, mask: str = "soft", fill: str = "mean") -> tuple[float] | None:
    """max(0, Y - O) / Y of the confidences Y in the image and O in its explanation map, 0 to 1.

    None where there is no such map (see `confidences`), or no confidence to lose.
    """
    found = confidences(trial, mask, fill)
    if found is None or not found[0] > 0:
        return None
    before, after = found
    return (max(before - after, 0) / before,)
