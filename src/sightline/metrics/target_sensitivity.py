"""Target sensitivity: asked about two other classes, does a map go to the parts that each has in common?

FunnyBirds (Hesse, Schaub-Meyer, Roth, ICCV 2023, arXiv 2308.06248): two classes are sought that share two parts
with the creature's, and not the same ones. The map of the first has to give its two parts more than the
map of the second gives them, and the other way round. A picture counts only where the model itself tells
the classes apart so: without the first's parts the first's logit loses more than without the second's, and
the other way round.

A map that doesn't depend on the class gets 0, not 0.5: equal isn't more. Differs from the authors' code: where no
two such classes are found, it takes the last two that it looked at; here the trial isn't judged.
"""

from itertools import combinations

import numpy as np

from sightline.errors import MetricError
from sightline.metrics.creature import Classes, Gone, classes, creature, logits_without, own_parts, shared
from sightline.metrics.part_importance import part_importance
from sightline.trials import Trial

IN_COMMON = 2  # parts


def target_sensitivity(trial: Trial, *, signed: bool = False) -> tuple[float] | None:
    """The share of the two classes that are answered right: 0, 0.5 or 1.

    `signed` counts what is below zero too, as the authors' code does. None where no two such classes are
    there, the creature lost one of the parts, the model doesn't tell them apart, or a map is empty.
    Raises MetricError where the data set doesn't say what its classes are made of, in the model's order.
    """
    parted, known = creature(trial), classes(trial)
    found = rivals(trial.label, known)
    if found is None or not found[0][1] | found[1][1] <= set(own_parts(parted)):
        return None
    (first, its), (second, others) = found
    order = list(known)
    if order.index(trial.label) != trial.index:  # a trial tells its own class's index alone
        raise MetricError(
            f"{trial.label} is class {trial.index} of the model and class {order.index(trial.label)} of "
            f"{trial.sample.name}; use a model that has the data set's classes in their order"
        )
    i, j = order.index(first), order.index(second)
    without_its, without_others = logits_without(trial, [its, others]).values()
    if not (without_its[i] < without_others[i] and without_others[j] < without_its[j]):
        return None
    heats = [np.asarray(trial.framing.to_picture(trial.again(index=index)[0]).cpu()) for index in (i, j)]
    if not all((heat > 0).any() for heat in heats):
        return None
    to_its, to_others = (
        [part_importance(heat, parted, sorted(parts), signed=signed).sum() for heat in heats] for parts in (its, others)
    )
    return (float(np.mean([to_its[0] > to_its[1], to_others[1] > to_others[0]])),)


def rivals(label: str, known: Classes) -> tuple[tuple[str, Gone], tuple[str, Gone]] | None:
    """The first two classes that share two parts each with this one, and not the same ones; with those parts."""
    same = [(name, shared(known[label], known[name])) for name in known if name != label]
    near = [(name, parts) for name, parts in same if len(parts) == IN_COMMON]
    return next(((this, that) for this, that in combinations(near, 2) if this[1].isdisjoint(that[1])), None)
