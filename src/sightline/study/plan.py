"""A study on paper: which pictures are drawn, which trials each has, and who sees what.

Nothing here reads or draws a picture.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from sightline.errors import DataError
from sightline.runs.kept import Run
from sightline.study.trials import Key

Item = TypeVar("Item")
CLASSES = ("label", "predicted")  # what a run may have been asked for, if its maps are to speak for a class


@dataclass(frozen=True)
class Asked:
    """One map: of which run (0 or 1), which picture, which class, by which method."""

    run: int
    picture: str
    index: int
    method: str


@dataclass(frozen=True)
class Planned:
    """A trial that has no name yet: the maps side by side, what can be answered, and what the key will say."""

    maps: tuple[Asked, ...]
    options: tuple[str, ...]
    key: Key
    about: str = ""


def chosen(run: Run, methods: Sequence[str] | None) -> tuple[str, ...]:
    """The run's methods that are asked for, by default all. Raises DataError for one that it doesn't have."""
    if methods is None:
        return run.methods
    for name in methods:
        if name not in run.methods:
            raise DataError(f"the run in {run.folder} has no maps by {name!r}; it has {', '.join(run.methods)}")
    if not methods or len(set(methods)) < len(methods):
        listed = ", ".join(run.methods)
        raise DataError(f"methods {', '.join(methods) or 'none'}; name one or more of {listed}, each once")
    return tuple(methods)


def enough(found: int, count: int | None, most: int, told: str) -> int:
    """How many pictures to draw of those found: `count`, or up to `most`. Raises DataError, telling, for too few."""
    if count is None:
        count = min(most, max(found, 1))
    if count < 1:
        raise DataError(f"a study of {count} pictures was asked for; expected 1 or more")
    if found < count:
        raise DataError(f"{found} pictures {told}; the study needs {count}: ask for fewer, or run over more")
    return count


def drawn(classes: Mapping[str, tuple[str, ...]], count: int, random: Random) -> list[str]:
    """`count` of the pictures, whose classes are given, so that classes are as even as the pictures allow.

    Each time it is one whose classes have been drawn least; which of those, chance decides.
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    for picture in sorted(classes):
        alike.setdefault(tuple(sorted(classes[picture])), []).append(picture)
    groups = [(names, shuffled(pictures, random)) for names, pictures in sorted(alike.items())]
    times: Counter[str] = Counter()
    found = []
    for _ in range(count):
        groups = shuffled([group for group in groups if group[1]], random)
        names, pictures = min(groups, key=lambda group: sorted((times[name] for name in group[0]), reverse=True))
        found.append(pictures.pop())
        times.update(names)
    return found


def orders(trials: Sequence[Sequence[str]], participants: int, random: Random) -> tuple[tuple[str, ...], ...]:
    """An order for each participant, and as many more as make it fair, from each picture's trials, equally many.

    Each shows every picture once. Within a round, which has as many orders as a picture has trials, pictures take
    turns through theirs as in a Latin square: each trial is shown once, and one order's trials are as even over the
    methods and classes as can be. Then they are shuffled.
    """
    turns = len(trials[0])
    found = []
    for _ in range(math.ceil(participants / turns)):
        pictures = shuffled(trials, random)
        for turn in shuffled(range(turns), random):
            found.append(tuple(shuffled([mine[(nth + turn) % turns] for nth, mine in enumerate(pictures)], random)))
    return tuple(found)


def names(count: int, random: Random) -> list[str]:
    """Different names that say nothing."""
    return [f"{number:010x}" for number in random.sample(range(16**10), count)]


def shuffled(items: Sequence[Item], random: Random) -> list[Item]:
    return random.sample(items, len(items))
