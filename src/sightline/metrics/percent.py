"""Figures in per cent of what each trial gives in 0..1: over all trials, and with every class counting the same."""

from collections.abc import Sequence

from sightline.trials import Values, class_mean, mean


def percent(values: Values, labels: Sequence[str]) -> float:
    """The mean of the trials' first numbers, in per cent."""
    return 100 * mean(values, labels)


def class_percent(values: Values, labels: Sequence[str]) -> float:
    """The mean over the classes that have trials of the mean of each one's, in per cent."""
    return 100 * class_mean(values, labels)
