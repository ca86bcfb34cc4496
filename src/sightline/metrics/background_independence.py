"""Background independence: how few of the things around a creature are relevant to the model.

FunnyBirds (Hesse, Schaub-Meyer, Roth, ICCV 2023, arXiv 2308.06248): the share of all pictures' things without
which the class's logit falls by less than 5 % of itself, or rises. It is about the model alone, so the same
for every map; it says whether a map that marks the background is wrong.
"""

from collections.abc import Sequence

from sightline.metrics.completeness import irrelevant
from sightline.metrics.creature import creature, logits_without
from sightline.trials import Trial, Values


def background_independence(trial: Trial) -> tuple[float, float] | None:
    """How many of the things in the background are irrelevant, and how many there are; None where there are none."""
    things = list(creature(trial).background)
    if not things:
        return None
    answers = logits_without(trial, [[], *([thing] for thing in things)])
    return float(len(irrelevant(answers, trial.index, things))), float(len(things))


def of_all_things(values: Values, labels: Sequence[str]) -> float:
    """The share of all things that are irrelevant."""
    independent, things = values.sum(0)
    return float(independent / things)
