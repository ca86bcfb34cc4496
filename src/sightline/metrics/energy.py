"""The energy pointing game: how much of a map's evidence lies on the object.

Wang et al., *Score-CAM*, 2020, arXiv 1910.01279, section 4.3, with boxes, and on pictures with one box
of less than half the picture (`single`); with masks it is the relevance mass accuracy of Arras,
Osman and Samek, *CLEVR-XAI*, arXiv 2003.07258. Only what is above zero is evidence. An even map gets
the object's share of the picture.
"""

import numpy as np

from sightline.metrics.marked import counted, marked
from sightline.trials import Trial

LARGE = 1 / 2  # of the picture


def energy(trial: Trial, *, region: str = "mask", single: bool = False) -> tuple[float] | None:
    """The share (0 to 1) of the positive evidence that lies on the object; what wasn't seen holds none.

    None where there is no evidence, the object has no pixel or, if `single`, isn't one box of less
    than half the picture.
    """
    truth, size = trial.truth, trial.sample.picture.size
    if truth is None or (single and (len(truth.boxes) != 1 or marked(truth, size, "boxes").mean() >= LARGE)):
        return None
    inside = marked(truth, size, region)
    evidence = np.fmax(counted(trial.heat, truth, region), 0)
    total = evidence.sum(dtype=np.float64)
    if not total > 0 or not inside.any():
        return None
    return (float(evidence[inside].sum(dtype=np.float64) / total),)
