"""Completeness: the four questions of FunnyBirds about the set of parts that a map calls important.

Hesse, Schaub-Meyer, Roth, *FunnyBirds*, ICCV 2023, arXiv 2308.06248, and its evaluation_protocols.py. At
each threshold t (see `part_importance`):
- controlled synthetic data check: how much of a smallest set of parts that tells the class is important,
  for the set of which most is;
- preservation check: whether the class is still predicted without the parts that aren't important;
- deletion check: whether it no longer is without those that are;
- distractibility: how much of what isn't relevant, to the class's logit, isn't important either: parts and
  things in the background without which the logit falls by less than 5 % of itself, or rises.

No threshold can be chosen by one of them alone: a low one calls everything important, and gets 1 in the first
three whatever the map; a high one calls nothing so, and gets 1 in the last. So, as the authors' code does,
all take the threshold at which ((CSDC + PC + DC) / 3 + D) / 2 is highest over the data set, and that is the
figure of completeness.

Differs from the paper: it asks the first of correct predictions, the next two of predictions right or wrong,
the last of all pictures; here all four are asked of correct predictions, so that all share their trials.
5 % of a logit is the paper's rule, and no more than a convention: logits have no zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from sightline.metrics.creature import Gone, classes, creature, logits_without, own_parts, sufficient
from sightline.metrics.part_importance import THRESHOLDS, Numbers, important
from sightline.trials import Trial, Values

RELEVANT = 0.05  # of the class's logit


@dataclass(frozen=True)
class Checks:
    """The answers at each threshold (80,), 0 to 1."""

    synthetic: Numbers
    preservation: Numbers
    deletion: Numbers
    undistracted: Numbers

    @property
    def together(self) -> Numbers:
        """Completeness at each threshold."""
        return ((self.synthetic + self.preservation + self.deletion) / 3 + self.undistracted) / 2


def checks(trial: Trial, signed: bool) -> Checks | None:
    """The answers about a trial.

    None where the map's total isn't above zero, the class isn't the one predicted, everything in the picture is
    relevant, or no parts tell the class from others. Raises MetricError where the data set doesn't say what its
    classes are made of.
    """
    parted = creature(trial)
    every, own = list(parted.parts), set(own_parts(parted))
    enough = sufficient(trial.label, classes(trial))
    marked = important(trial.heat, parted, every, signed=signed)
    if marked is None or not enough:
        return None
    called = [frozenset(np.array(every)[row].tolist()) for row in marked]
    kept, rest = [each & own for each in called], [own - each for each in called]
    answers = logits_without(trial, [[], *([part] for part in every), *kept, *rest])
    right = {gone: int(logits.argmax()) == trial.index for gone, logits in answers.items()}
    spare = irrelevant(answers, trial.index, every)
    if not right[frozenset()] or not spare:
        return None
    return Checks(
        synthetic=np.array([max(len(each & wanted) / len(wanted) for wanted in enough) for each in called]),
        preservation=np.array([right[frozenset(gone)] for gone in rest], dtype=np.float64),
        deletion=np.array([not right[gone] for gone in kept], dtype=np.float64),
        undistracted=np.array([1 - len(each & spare) / len(spare) for each in called]),
    )


def irrelevant(answers: dict[Gone, Tensor], index: int, parts: Sequence[str]) -> Gone:
    """The parts without which a class's logit falls by less than RELEVANT of itself, or rises."""
    whole = float(answers[frozenset()][index])
    lost = {part: whole - float(answers[frozenset([part])][index]) for part in parts}
    return frozenset(part for part, drop in lost.items() if drop < RELEVANT * abs(whole))


def completeness(trial: Trial, *, signed: bool = False) -> list[float] | None:
    """The mean of the first three and the fourth, at each threshold (80); None as for `checks`."""
    found = checks(trial, signed)
    return None if found is None else [*found.together]


def highest(values: Values, labels: Sequence[str]) -> float:
    """Completeness at the threshold at which it is highest."""
    return float(values.mean(0).max())


def shared_threshold(values: Values, labels: Sequence[str]) -> float:
    """The threshold at which completeness, the last 80 numbers of each trial, is highest; the lowest of equals."""
    return float(THRESHOLDS[values[:, -len(THRESHOLDS) :].mean(0).argmax()])


def over_thresholds(values: Values, labels: Sequence[str]) -> Numbers:
    """Rows of a threshold and the mean of the trials' first 80 numbers there."""
    return np.stack([THRESHOLDS, values[:, : len(THRESHOLDS)].mean(0)], 1)


def at_shared(values: Values, labels: Sequence[str]) -> float:
    """The mean of the trials' first 80 numbers at the threshold at which their last 80, completeness, are highest."""
    own, together = np.split(values.mean(0), 2)
    return float(own[together.argmax()])


def at_tenth(values: Values, labels: Sequence[str]) -> float:
    """The mean of the trials' first 80 numbers at the threshold nearest to 0.1, fixed beforehand."""
    return float(values[:, abs(THRESHOLDS - 0.1).argmin()].mean())
