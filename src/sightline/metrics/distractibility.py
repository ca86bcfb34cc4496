"""Distractibility: does a map leave out what the class's logit doesn't need?

FunnyBirds (Hesse, Schaub-Meyer, Roth, ICCV 2023, arXiv 2308.06248); `completeness` says how, and why the
threshold is chosen there.
"""

from sightline.metrics.completeness import checks
from sightline.trials import Trial


def distractibility(trial: Trial, *, signed: bool = False) -> list[float] | None:
    """At each of 80 thresholds how much of what is irrelevant to the class's logit isn't important.

    0 to 1; then, for the choice of a threshold, completeness at each. `signed` counts what is below zero too,
    as the authors' code does. None as for `checks`.
    """
    found = checks(trial, signed)
    return None if found is None else [*found.undistracted, *found.together]
