"""Agreement: how far participants answer the same trial alike, beyond what chance would give.

Krippendorff's alpha (*Computing Krippendorff's Alpha-Reliability*, 2011): 1 less the disagreement within trials over
that among all answers, whoever gave them and to whatever. 1 is full agreement, 0 chance's. Answers may be missing.
Krippendorff relies on data from 0.8 on, and draws tentative conclusions from 0.667; forced choices, which
take their power from many answers, stay far below.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

import numpy as np

from sightline.study.judged import Numbers


class Level(StrEnum):
    """What the distance of two answers is."""

    NOMINAL = "nominal"  # the same or not
    INTERVAL = "interval"  # how far their values are apart


def alpha(units: Iterable[Sequence[float]], level: Level = Level.NOMINAL) -> float | None:
    """Krippendorff's alpha of the answers to each unit, a trial; None where nobody shares one, or all say the same.

    Answers are numbers; nominal ones just have to be equal where they are the same.
    """
    pairable = [np.asarray(unit, np.float64) for unit in units if len(unit) > 1]
    if not pairable:
        return None
    values = np.unique(np.concatenate(pairable))
    counts = np.stack([(unit[:, None] == values).sum(0) for unit in pairable]).astype(np.float64)
    sizes, totals = counts.sum(1), counts.sum(0)
    apart = DISTANCES[level](values)
    # within a unit of m answers each ordered pair counts 1 / (m - 1), so that each answer counts once
    within = float(((counts @ apart) * counts / (sizes[:, None] - 1)).sum())
    among = float(totals @ apart @ totals) / float(totals.sum() - 1)
    return 1 - within / among if among > 0 else None


DISTANCES: dict[Level, Callable[[Numbers], Numbers]] = {
    Level.NOMINAL: lambda values: np.asarray(values[:, None] != values, np.float64),
    Level.INTERVAL: lambda values: np.asarray((values[:, None] - values) ** 2),
}
"""The squared distance of each pair of values (K, K)."""
