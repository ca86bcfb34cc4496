"""From trials to a table: each metric's figure of each method, with an interval by the bootstrap over pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.trials import Metric, Total, Values, mean

RESAMPLES = 1000
INTERVAL = (2.5, 97.5)  # percentiles


@dataclass(frozen=True)
class Figure:
    """A metric's figure over all trials that could be judged, and how many could not.

    `low` and `high` hold 95 % of the figures of `RESAMPLES` draws of the pictures, with replacement.
    """

    value: float | None
    low: float | None
    high: float | None
    judged: int
    left_out: int
    more: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[Any]] = field(default_factory=dict)


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


def folded(lines: Sequence[Mapping[str, Any]], name: str, control: bool, metrics: Sequence[Metric], seed: int) -> Row:
    """One method's row of the table, from the lines of all pictures."""
    found = [line["rows"][name] for line in lines if name in line["rows"]]
    return Row(
        name=name,
        control=control,
        maps=sum(len(each["empty"]) for each in found),
        empty=sum(sum(each["empty"]) for each in found),
        tied=sum(sum(each["tied"]) for each in found),
        figures={metric.title: _figure([each["values"][metric.title] for each in found], metric, seed)
                 for metric in metrics},
    )  # fmt: skip


def _figure(pictures: Sequence[Sequence[tuple[str, list[float] | None]]], metric: Metric, seed: int) -> Figure:
    """The figure of each picture's trials [(label, numbers or None), ...]."""
    kept = [(place, label, numbers) for place, trials in enumerate(pictures) for label, numbers in trials]
    judged = [(place, label, numbers) for place, label, numbers in kept if numbers is not None]
    out = len(kept) - len(judged)
    if not judged:
        return Figure(None, None, None, 0, out)
    values = np.array([numbers for _, _, numbers in judged], dtype=np.float64)
    labels = [label for _, label, _ in judged]
    places = np.array([place for place, _, _ in judged])
    drawn = _resampled(values, labels, places, len(pictures), metric.total, seed)
    low, high = (float(each) for each in np.percentile(drawn, INTERVAL)) if drawn.size else (None, None)
    return Figure(
        value=metric.total(values, labels),
        low=low,
        high=high,
        judged=len(judged),
        left_out=out,
        more={name: total(values, labels) for name, total in metric.more.items()},
        curves={name: curve(values, labels).tolist() for name, curve in metric.curves.items()},
    )


def _resampled(
    values: Values, labels: Sequence[str], places: NDArray[np.int_], pictures: int, total: Total, seed: int
) -> NDArray[np.float64]:
    """The total over each of RESAMPLES draws of the pictures; draws in which nothing was judged are left out."""
    draw = np.random.default_rng(seed)
    times = draw.multinomial(pictures, [1 / pictures] * pictures, size=RESAMPLES)[:, places]
    times = times[times.sum(1) > 0]
    if total is mean:
        return np.asarray((times @ values[:, 0]) / times.sum(1))
    names = np.array(labels)
    every = np.arange(len(places))
    found = []
    for each in times:
        chosen = np.repeat(every, each)
        found.append(total(values[chosen], names[chosen].tolist()))
    return np.array(found)
