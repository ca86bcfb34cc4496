"""How far two maps agree: in their values (Pearson), or in the order of their values alone (Spearman)."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Numbers = NDArray[np.float64]


def pearson(a: Tensor, b: Tensor) -> float | None:
    """The linear correlation (-1 to 1) of two maps of one shape; None where either is constant."""
    return _correlation(_flat(a), _flat(b))


def spearman(a: Tensor, b: Tensor) -> float | None:
    """The correlation (-1 to 1) of two maps' ranks, equals sharing their mean rank; None where either is constant."""
    return _correlation(_ranks(_flat(a)), _ranks(_flat(b)))


def _flat(values: Tensor) -> Numbers:
    return values.detach().cpu().double().flatten().numpy()


def _ranks(values: Numbers) -> Numbers:
    """As scipy.stats.rankdata, whose import would take longer than an explanation."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((count.cumsum() - (count - 1) / 2)[place])


def _correlation(a: Numbers, b: Numbers) -> float | None:
    if a.min() == a.max() or b.min() == b.max():
        return None
    return float(np.clip(_direction(a) @ _direction(b), -1, 1))


def _direction(values: Numbers) -> Numbers:
    """The deviations from the mean, of length 1; divided first by the largest, whose square may not be a number."""
    deviations = values - values.mean()
    deviations = deviations / np.abs(deviations).max()
    return np.asarray(deviations / np.linalg.norm(deviations))
