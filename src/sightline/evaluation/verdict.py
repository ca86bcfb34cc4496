"""Whether a method's figure is better than what needs no model: its interval against those of the controls."""

from sightline.evaluation.table import Evaluation, Figure, Row
from sightline.trials import Better, Metric


def rivals(evaluation: Evaluation, row: Row, metric: Metric) -> list[str]:
    """The controls that a method isn't better than for certain: the 95 % intervals touch, or lie the wrong way.

    None for a control, for a metric without a better end, and where nothing could be judged.
    """
    figure = row.figures[metric.title]
    if row.control or metric.better is Better.NEITHER or figure.value is None:
        return []
    return [
        other.name
        for other in evaluation.rows
        if other.control and not _surely_better(figure, other.figures[metric.title], metric.better)
    ]


def _surely_better(this: Figure, that: Figure, better: Better) -> bool:
    if this.low is None or this.high is None or that.low is None or that.high is None:
        return that.value is None
    return this.low > that.high if better is Better.HIGHER else this.high < that.low
