"""Contrast: whether the map changes with the class that is asked about.

The rank correlation of the class's map with that of its strongest rival, as Sixt, Granz and Landgraf,
*When Explanations Lie*, 2020, arXiv 1912.09818, do for a class drawn at random: 1 for a method that
answers the same whatever is asked. Beside it, how much of the evidence moves.
"""

from collections.abc import Sequence

from sightline.metrics.correlation import spearman
from sightline.metrics.evidence import evidence
from sightline.trials import Trial, Values


def contrast(trial: Trial) -> tuple[float, float] | None:
    """The correlation (-1 to 1) of the class's raw map with its rival's, and the share of evidence that moves (0 to 1).

    What moves is half the sum of differences of the two maps' positive parts, each of sum 1. None where
    either map is constant or nowhere above zero, or the model knows no other class.
    """
    if not len(trial.rivals):
        return None
    own, other = trial.raw, trial.again(index=trial.rivals[0])[0]
    correlation, lit, rival_lit = spearman(own, other), evidence(own), evidence(other)
    if correlation is None or lit is None or rival_lit is None:
        return None
    return correlation, float((lit / lit.sum() - rival_lit / rival_lit.sum()).abs().sum() / 2)


def movement(values: Values, labels: Sequence[str]) -> float:
    """The mean share of evidence that moves."""
    return float(values[:, 1].mean())
