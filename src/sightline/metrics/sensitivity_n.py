"""Sensitivity-n: whether the evidence in a set of pixels is what the score loses when the set is taken away.

Ancona et al., *Towards Better Understanding of Gradient-based Attribution Methods for Deep Neural
Networks*, ICLR 2018, arXiv 1711.06104: for several n, the correlation over random sets of n features of
the sum of their attributions with the score's loss. A map of a linear model's w * x gets 1 for every n.
Quantus' metric of this name is another: it takes top-ranked features, and correlates over a batch.

What differs: features are not pixels, of which a set leaves nothing to see, but the cells of a grid; a
cell's attribution is the sum of the map over its pixels.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.errors import MetricError
from sightline.metrics.blank import blank
from sightline.metrics.correlation import pearson
from sightline.trials import Trial, Values

AT_ONCE = 32


def sensitivity_n(
    trial: Trial, *, cells: int = 14, steps: int = 5, subsets: int = 100, fill: str = "mean"
) -> tuple[float, ...] | None:
    """The correlations (-1 to 1) for n of 1/2, 3/2, ... of `steps` shares of all cells: 10 %, 30 %, ... 90 %.

    There are `cells` a side. Costs steps * subsets + 1 passes. None where the map, what sets hold of it or what
    the score loses is constant. Raises MetricError for other options.
    """
    height, width = trial.image.shape[1:]
    if not 2 <= cells <= min(height, width) or steps < 1 or subsets < 2:
        raise MetricError(
            f"sensitivity-n takes 2 cells per side or more, up to one per pixel, 1 step or more and 2 subsets or more; "
            f"got cells={cells}, steps={steps}, subsets={subsets} and {height} x {width} pixels"
        )
    if trial.raw.min() == trial.raw.max():
        return None
    row, column = (torch.arange(side) * cells // side for side in (height, width))
    cell = row[:, None] * cells + column  # of each pixel
    held = torch.zeros(cells**2, dtype=torch.float64)
    held.index_add_(0, cell.flatten(), trial.map.detach().cpu().double().flatten())
    left, generator = blank(trial, fill), trial.generator()
    own = trial.scores(trial.image[None]).double()
    found = []
    for step in range(steps):
        size = round((step + 0.5) / steps * cells**2)
        taken = torch.rand(subsets, cells**2, generator=generator).argsort(1) < size
        scores = [
            trial.scores(torch.where(part[:, None, cell].to(left.device), left, trial.image))
            for part in torch.split(taken, AT_ONCE)
        ]
        correlation = pearson(taken.double() @ held, own - torch.cat(scores).double())
        if correlation is None:
            return None
        found.append(correlation)
    return tuple(found)


def over_sizes(values: Values, labels: Sequence[str]) -> float:
    """The mean correlation over all n."""
    return float(values.mean())


def by_size(values: Values, labels: Sequence[str]) -> NDArray[np.float64]:
    """Rows of n, as a share of the cells, and the mean correlation there."""
    steps = values.shape[1]
    return np.stack([(np.arange(steps) + 0.5) / steps, values.mean(0)], 1)
