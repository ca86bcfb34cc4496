"""Doubts about participants: who answers too quickly, always on one side, or as if by coin.

They are told, and nobody is dropped unasked. None of them looks at the key: whoever drops those who were wrong has
decided what comes out. Decide what is dropped before the answers are there. The thresholds are ours.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sightline.errors import DataError
from sightline.study.judged import Judged

SECONDS = 2.0  # the median of who can't have looked
ENOUGH = 8  # trials that a participant is known by
ONE_SIDE = 0.9  # of the answers
OTHERS, AT_ONE = 3, 0.75  # how many others, and what share of them, make a trial clear
COIN = 0.5


@dataclass(frozen=True)
class Doubt:
    """A row of the table of doubts: when there is one, by a participant's answers and the clear trials' sides."""

    name: str
    idea: str
    rule: Callable[[Sequence[Judged], Mapping[str, int]], bool]


def _quick(own: Sequence[Judged], clear: Mapping[str, int]) -> bool:
    return float(np.median([each.answer.seconds for each in own])) < SECONDS


def _one_sided(own: Sequence[Judged], clear: Mapping[str, int]) -> bool:
    most = max(sum(each.side == side for each in own) for side in (0, 1))
    return len(own) >= ENOUGH and most >= ONE_SIDE * len(own)


def _guessing(own: Sequence[Judged], clear: Mapping[str, int]) -> bool:
    with_others = [each.side == clear[each.trial.id] for each in own if each.trial.id in clear]
    return len(with_others) >= ENOUGH and float(np.mean(with_others)) <= COIN


DOUBTS = (
    Doubt("quick", f"half of the answers within {SECONDS:g} seconds", _quick),
    Doubt("one-sided", f"{ONE_SIDE:.0%} of {ENOUGH} answers or more on the same side", _one_sided),
    Doubt(
        "guessing",
        f"where {AT_ONE:.0%} of {OTHERS} or more others agree, with them no more often than a coin "
        f"({ENOUGH} such trials or more)",
        _guessing,
    ),
)
"""All doubts; the place of a right option is drawn anew for each trial, so that a side says nothing."""


def doubts(answers: Sequence[Judged]) -> dict[str, tuple[str, ...]]:
    """Of each participant, the names of the doubts about him or her."""
    people: dict[str, list[Judged]] = defaultdict(list)
    trials: dict[str, Counter[int]] = defaultdict(Counter)
    for each in answers:
        people[each.answer.participant].append(each)
        trials[each.trial.id][each.side] += 1
    found = {}
    for name, own in people.items():
        clear = {}
        for each in own:
            others = trials[each.trial.id] - Counter([each.side])
            for side in (0, 1):
                if others.total() >= OTHERS and others[side] >= AT_ONE * others.total():
                    clear[each.trial.id] = side
        found[name] = tuple(doubt.name for doubt in DOUBTS if doubt.rule(own, clear))
    return found


def known(names: Sequence[str]) -> tuple[Doubt, ...]:
    """The doubts of these names. Raises DataError for another name."""
    by_name = {doubt.name: doubt for doubt in DOUBTS}
    for name in names:
        if name not in by_name:
            raise DataError(f"participants can't be dropped for {name!r}; choose of {', '.join(by_name)}")
    return tuple(by_name[name] for name in dict.fromkeys(names))
