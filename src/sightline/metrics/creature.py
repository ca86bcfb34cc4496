"""A trial's creature: its parts, what makes its class, and what the model says of it without some of its parts."""

from collections.abc import Collection, Iterable, Mapping
from itertools import combinations
from typing import Any

from torch import Tensor

from sightline.errors import MetricError
from sightline.trials import Parted, Trial

Gone = frozenset[str]
"""Parts that are taken away."""
Classes = Mapping[str, Mapping[str, str]]
"""Each class's variant of each part."""


def creature(trial: Trial) -> Parted:
    """The trial's picture as one of parts. Raises MetricError where it has none."""
    parted = trial.sample.parted
    if parted is None:
        raise MetricError(f"{trial.sample.name} has no parts that can be taken away; use scenes:creatures")
    return parted


def own_parts(parted: Parted) -> list[str]:
    """The parts that are the creature's, not those of things around it."""
    return [part for part in parted.parts if part not in parted.background]


def classes(trial: Trial) -> Classes:
    """What every class is made of: an attribute of the picture, `classes`, beyond what `Parted` asks for.

    Raises MetricError where it isn't there, or doesn't name the trial's class.
    """
    found: Any = getattr(creature(trial), "classes", None)
    if not isinstance(found, Mapping) or trial.label not in found:
        raise MetricError(f"{trial.sample.name} doesn't say what {trial.label!r} is made of; use scenes:creatures")
    return found


def shared(these: Mapping[str, str], those: Mapping[str, str]) -> Gone:
    """The parts of which two classes have the same variant."""
    return frozenset(part for part, variant in these.items() if those.get(part) == variant)


def sufficient(label: str, known: Classes) -> list[Gone]:
    """The smallest sets of parts whose variants tell a class from all others: no part of a set can be spared."""
    others = [shared(known[label], known[name]) for name in known if name != label]
    found: list[Gone] = []
    for count in range(1, len(known[label]) + 1):
        for parts in map(frozenset, combinations(known[label], count)):
            if not any(parts <= same for same in others) and not any(smaller <= parts for smaller in found):
                found.append(parts)
    return found


def logits_without(trial: Trial, removals: Iterable[Collection[str]]) -> dict[Gone, Tensor]:
    """All classes' logits of the picture without each of these sets of parts, each asked once, all in one go."""
    wanted = list(dict.fromkeys(map(frozenset, removals)))
    parted = creature(trial)
    logits = trial.logits(trial.see([parted.without(sorted(gone)) for gone in wanted]))
    return dict(zip(wanted, logits, strict=True))
