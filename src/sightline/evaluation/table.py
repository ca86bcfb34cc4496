"""From trials to a table: each metric's figure of each method, with an interval by the bootstrap over pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.trials import Better, Metric, Total, Values, mean

RESAMPLES = 1000
INTERVAL = (2.5, 97.5)  # percentiles
SURE = 0.975  # of the draws

Line = Mapping[str, Any]
Draws = NDArray[np.float64]  # (RESAMPLES,)


@dataclass(frozen=True)
class Figure:
    """A metric's figure over all trials that could be judged, and how many could not.

    `low` and `high` hold 95 % of the figures of `RESAMPLES` draws of the pictures, with replacement.
    `unbeaten` are the controls that a method isn't better than in 97.5 % of the same draws.
    """

    value: float | None
    low: float | None
    high: float | None
    judged: int
    left_out: int
    more: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[Any]] = field(default_factory=dict)
    unbeaten: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One method's figures; a `control` is no explanation, but what explanations have to beat.

    `empty` counts maps that are nowhere above zero, `tied` those whose maximum is in several places.
    """

    name: str
    control: bool
    maps: int
    empty: int
    tied: int
    figures: dict[str, Figure]


@dataclass(frozen=True)
class Evaluation:
    """A data set's answer: the whole question, the rows, and what was left out."""

    question: dict[str, Any]
    rows: tuple[Row, ...]
    metrics: tuple[Metric, ...] = field(repr=False)
    layer: str
    pictures: int
    problems: tuple[str, ...]
    unknown: dict[str, int]
    refused: tuple[str, ...]
    fooled: int | None
    disagreement: tuple[tuple[str, float], ...] = field(repr=False)

    def __getitem__(self, row: str) -> Row:
        return next(each for each in self.rows if each.name == row)

    def facts(self) -> dict[str, Any]:
        """All of it as JSON values."""
        kept = {
            "question": self.question,
            "layer": self.layer,
            "pictures": self.pictures,
            "problems": list(self.problems),
            "unknown classes": self.unknown,
            "refused": list(self.refused),
        }
        fooled = {} if self.fooled is None else {"fooled": self.fooled}
        return kept | fooled | {
            "rows": [asdict(row) for row in self.rows],
            "metrics": [
                {"name": m.title, "better": m.better, "about": m.about, "options": m.choices, "paper": m.paper,
                 "idea": m.idea}
                for m in self.metrics
            ],
            "disagreement": [{"picture": name, "value": value} for name, value in self.disagreement],
        }  # fmt: skip


@dataclass(frozen=True)
class Named:
    """A row's name, and whether it is a control."""

    name: str
    control: bool


def folded(lines: Sequence[Line], named: Sequence[Named], metrics: Sequence[Metric], seed: int) -> tuple[Row, ...]:
    """The rows of the table, from the lines of all pictures."""
    drawn = np.random.default_rng(seed).multinomial(len(lines), [1 / len(lines)] * len(lines), size=RESAMPLES)
    found: dict[str, dict[str, tuple[Figure, Draws]]] = {
        row.name: {metric.title: _figure(lines, row.name, metric, drawn) for metric in metrics} for row in named
    }
    controls = [row.name for row in named if row.control]
    rows = []
    for row in named:
        figures = {title: figure for title, (figure, _) in found[row.name].items()}
        for metric in metrics if not row.control else []:
            own = found[row.name][metric.title][1]
            rivals = {name: found[name][metric.title][1] for name in controls}
            unbeaten = tuple(name for name, other in rivals.items() if not _better(own, other, metric.better))
            figures[metric.title] = replace(figures[metric.title], unbeaten=unbeaten)
        kept = [line["rows"][row.name] for line in lines if row.name in line["rows"]]
        maps, empty, tied = (sum(count(each) for each in kept) for count in (_maps, _empty, _tied))
        rows.append(Row(row.name, row.control, maps, empty, tied, figures))
    return tuple(rows)


def _maps(judged: Line) -> int:
    return len(judged["empty"])


def _empty(judged: Line) -> int:
    return sum(judged["empty"])


def _tied(judged: Line) -> int:
    return sum(judged["tied"])


def _figure(lines: Sequence[Line], row: str, metric: Metric, drawn: NDArray[np.int64]) -> tuple[Figure, Draws]:
    """The figure, and the figures of all draws of the pictures, NaN where nothing drawn could be judged."""
    trials = [
        (place, label, numbers)
        for place, line in enumerate(lines)
        if row in line["rows"]
        for label, numbers in line["rows"][row]["values"][metric.title]
    ]
    judged = [(place, label, numbers) for place, label, numbers in trials if numbers is not None]
    out = len(trials) - len(judged)
    if not judged:
        return Figure(None, None, None, 0, out), np.full(len(drawn), np.nan)
    values = np.array([numbers for _, _, numbers in judged], dtype=np.float64)
    labels = [label for _, label, _ in judged]
    draws = _resampled(values, labels, drawn[:, [place for place, _, _ in judged]], metric.total)
    known = draws[~np.isnan(draws)]
    low, high = (float(each) for each in np.percentile(known, INTERVAL)) if known.size else (None, None)
    more = {name: total(values, labels) for name, total in metric.more.items()}
    figure = Figure(
        value=metric.total(values, labels),
        low=low,
        high=high,
        judged=len(judged),
        left_out=out,
        more={name: value for name, value in more.items() if np.isfinite(value)},
        curves={name: curve(values, labels).tolist() for name, curve in metric.curves.items()},
    )
    return figure, draws


def _resampled(values: Values, labels: Sequence[str], times: NDArray[np.int64], total: Total) -> Draws:
    """The total over each draw, in which each trial counts so many times."""
    if total is mean:
        counts = times.sum(1)
        return np.asarray(np.divide(times @ values[:, 0], counts, out=np.full(len(times), np.nan), where=counts > 0))
    names, every = np.array(labels), np.arange(len(labels))
    found = np.full(len(times), np.nan)
    for place, each in enumerate(times):
        if each.any():
            chosen = np.repeat(every, each)
            found[place] = total(values[chosen], names[chosen].tolist())
    return found


def _better(own: Draws, other: Draws, better: Better) -> bool:
    """Whether it is so in 97.5 % of the draws; always where the other could never be judged."""
    if better is Better.NEITHER or np.isnan(other).all():
        return True
    above = own - other if better is Better.HIGHER else other - own
    return bool((above > 0).mean() >= SURE)
