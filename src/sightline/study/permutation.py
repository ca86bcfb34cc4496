"""Permutation tests: how often chance alone would set two methods as far apart as the answers do.

If two methods tell people the same, either could have stood by the other's answers: their answers to each picture
change places, at random, and the difference of their means is taken again (Good, *Permutation, Parametric and
Bootstrap Tests*, 2005). Both classes of a picture change places together, for they hang together.
"""

from collections.abc import Sequence

import numpy as np

from sightline.study.judged import Numbers

DRAWS = 10_000
AT_ONCE = 1000


def swapped(own: Numbers, other: Numbers, seed: int = 0) -> float:
    """The probability, both ways, that swaps set two methods' means at least as far apart as they are.

    Of each method (pictures, 2): the sum of its answers to each picture, and their number. All swaps are tried where
    they are no more than 10,000, else so many are drawn, and what was seen is counted among them (Phipson and Smyth
    2010, arXiv 1603.05766), so that no p is 0.
    """
    seen, pictures = abs(_apart(own.sum(0), other.sum(0))), len(own)
    every = 2**pictures <= DRAWS
    random = np.random.default_rng(seed)
    as_far, drawn, change = 0, 2**pictures if every else DRAWS, other - own
    for first in range(0, drawn, AT_ONCE):
        places = np.arange(first, min(first + AT_ONCE, drawn))
        if every:
            swaps = (places[:, None] >> np.arange(pictures) & 1).astype(float)
        else:
            swaps = random.integers(0, 2, (len(places), pictures)).astype(float)
        moved = swaps @ change
        as_far += int((abs(_apart(own.sum(0) + moved, other.sum(0) - moved)) >= seen - 1e-12).sum())
    return as_far / drawn if every else (as_far + 1) / (drawn + 1)


def holm(probabilities: Sequence[float]) -> list[float]:
    """Each p as it stands after Holm's correction (Scand. J. Stat. 1979) for having looked at all of them."""
    order = np.argsort(probabilities, kind="stable")
    found, highest = [0.0] * len(order), 0.0
    for nth, place in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - nth) * probabilities[place]))
        found[place] = highest
    return found


def _apart(own: Numbers, other: Numbers) -> Numbers:
    return np.asarray(own[..., 0] / own[..., 1] - other[..., 0] / other[..., 1])
