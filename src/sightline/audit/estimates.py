"""Figures of pictures with what they would have been for other pictures: the bootstrap, drawn over pictures.

A picture's rows are drawn together: two maps of one picture are no two pictures. All figures here are one sum over
another (a mean is a sum over a count), so that the sums of a draw are all that need be kept of it. Percentiles of the
draws as they are, which are too narrow for very few pictures: who judges by them asks for FEWEST of these.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from sightline.audit.found import Estimate

DRAWS = 1000
OUTSIDE = 5.0  # per cent of the draws that are outside the interval
FEWEST = 10  # pictures, below which an interval is told but nothing is concluded from it; ours
AT_ONCE = 2**22  # counts of a picture in a draw

Numbers = NDArray[np.float64]


class Draws:
    """Draws of some rows' pictures, with replacement, the same ones whenever they are asked for again."""

    def __init__(self, pictures: Sequence[Hashable], seed: int | Sequence[int]) -> None:
        found: dict[Hashable, int] = {}
        self.place = np.array([found.setdefault(each, len(found)) for each in pictures], dtype=np.intp)
        self.count, self.seed = len(found), seed

    def sums(self, columns: Numbers) -> Numbers:
        """Columns (rows, k) -> their sums (1 + DRAWS, k): over all rows, and over each draw."""
        each = np.zeros((self.count, columns.shape[1]))
        np.add.at(each, self.place, columns)
        if not self.count:
            return np.zeros((1 + DRAWS, columns.shape[1]))
        random, even = np.random.default_rng(self.seed), np.full(self.count, 1 / self.count)
        block = max(1, AT_ONCE // self.count)
        drawn = [
            random.multinomial(self.count, even, size=min(block, DRAWS - start)) @ each
            for start in range(0, DRAWS, block)
        ]
        return np.concatenate([each.sum(0, keepdims=True), *drawn])

    def pictures(self, known: NDArray[np.bool_]) -> int:
        """How many pictures have a row that is known."""
        return len(np.unique(self.place[known]))

    def ratios(self, parts: Sequence[tuple[Numbers, Numbers]]) -> list[Estimate]:
        """Of each pair (above, below) of columns (rows,) the one's sum over the other's; NaN is a row left out."""
        return [estimate(values, self.pictures(known)) for values, known in zip(self.quotients(parts), _known(parts))]

    def means(self, columns: Sequence[Numbers]) -> list[Estimate]:
        """The mean of each column (rows,); NaN is a row left out."""
        return self.ratios([(column, np.ones_like(column)) for column in columns])

    def quotients(self, parts: Sequence[tuple[Numbers, Numbers]]) -> Numbers:
        """(parts, 1 + DRAWS): over all rows, and over each draw; NaN where nothing that could be judged was drawn."""
        kept = [np.where(known, part, 0) for pair, known in zip(parts, _known(parts)) for part in pair]
        sums = self.sums(np.stack(kept, 1)).T
        above, below = sums[::2], sums[1::2]
        return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def estimate(values: Numbers, count: int, of: int = 1) -> Estimate:
    """The first of the values (1 + DRAWS,) with the interval of the others; all None where it is NaN.

    The interval of one `of` many is so much wider that all of them are in theirs in 95 % of the draws (Bonferroni's).
    """
    draws = values[1:][~np.isnan(values[1:])]
    if not count or np.isnan(values[0]) or not draws.size:
        return Estimate(None, None, None, count)
    low, high = np.percentile(draws, (OUTSIDE / 2 / of, 100 - OUTSIDE / 2 / of))
    return Estimate(float(values[0]), float(low), float(high), count)


def _known(parts: Sequence[tuple[Numbers, Numbers]]) -> list[NDArray[np.bool_]]:
    return [~(np.isnan(above) | np.isnan(below)) for above, below in parts]
