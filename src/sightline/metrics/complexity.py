"""Complexity: how much of the image a map lights.

Poppi et al., *Revisiting the Evaluation of Class Activation Mapping for Explainability*, 2021, arXiv
2104.10252: the mean of the map over its maximum. The fewer pixels explain, the better.
"""

from sightline.metrics.evidence import evidence
from sightline.trials import Trial


def complexity(trial: Trial) -> tuple[float] | None:
    """The mean (0 to 1) of the map's positive part over its maximum, in the image; None where nothing is above zero."""
    lit = evidence(trial.map)
    return None if lit is None else (float(lit.mean()),)
