"""Relevance rank accuracy: of as many highest pixels as the object has, the share that are its own.

Arras, Osman and Samek, *CLEVR-XAI*, 2020, arXiv 2003.07258. Where equal values straddle the cut, as
the zeros of a map that is zero nearly everywhere do, the share is the mean over all ways to break the tie.
"""

import numpy as np

from sightline.metrics.marked import counted
from sightline.trials import Trial


def relevance_rank(trial: Trial) -> tuple[float] | None:
    """The share (0 to 1) of the K highest pixels that are in the mask, K being its size; of the pixels seen.

    None without a mask, where no pixel of it was seen, or where the map is nowhere above zero.
    """
    truth = trial.truth
    if truth is None or truth.mask is None:
        return None
    heat = counted(trial.heat, truth, "mask")
    seen = ~np.isnan(heat)
    values, inside = heat[seen], truth.mask[seen]
    size = int(inside.sum())
    if not size or not values.max() > 0:
        return None
    cut = np.partition(values, -size)[-size]
    above, level = values > cut, values == cut
    open_places = (size - above.sum()) / level.sum()
    return (float(((inside & above).sum() + open_places * (inside & level).sum()) / size),)
