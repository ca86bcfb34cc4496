"""Preservation check: is the class still predicted where only the parts are left that a map calls important?

FunnyBirds (Hesse, Schaub-Meyer, Roth, ICCV 2023, arXiv 2308.06248); `completeness` says how, and why the
threshold is chosen there.
"""

from sightline.metrics.completeness import checks
from sightline.trials import Trial


def preservation_check(trial: Trial, *, signed: bool = False) -> list[float] | None:
    """At each of 80 thresholds 1 where the class is predicted without all parts that aren't important, else 0.

    0 to 1; then, for the choice of a threshold, completeness at each. `signed` counts what is below zero too,
    as the authors' code does. None as for `checks`.
    """
    found = checks(trial, signed)
    return None if found is None else [*found.preservation, *found.together]
