"""Simulated participants: people whose true accuracy is known, to test an analysis on and to plan a study with.

Their number, spreads, lapses and seconds are ours; no paper says how participants differ.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

import numpy as np

from sightline.errors import DataError
from sightline.study import trust
from sightline.study.judged import Numbers
from sightline.study.plan import orders
from sightline.study.trials import Answer, Key, Kind, Study, Trial

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(41)  # E[f(Z)] of a standard normal Z is sum(WEIGHTS f(NODES))
WEIGHTS = WEIGHTS / WEIGHTS.sum()
FIRST = datetime(2026, 1, 1, 9, tzinfo=UTC)  # when everybody begins


@dataclass(frozen=True)
class People:
    """Who answers: `effect` is each method's true figure over all people and pictures that there could be.

    That is the share of right answers (0 to 1) of a discrimination study, the mean score (-2 to +2) of a trust study.
    People differ in skill and pictures in difficulty by normal spreads, in logits (discrimination) or in points of the
    scale (trust, where each answer has a spread of 1 besides). In a share `lapses` of the trials they don't look,
    and any answer is as likely as another. `seconds` is the median of a log-normal. Each answers his or her whole
    order, or `each` trials of it.
    """

    effect: Mapping[str, float]
    count: int = 12
    each: int | None = None
    skill: float = 0.4
    difficulty: float = 0.6
    lapses: float = 0.02
    seconds: float = 6.0


def imagined(kind: Kind, methods: Sequence[str], pictures: int = 45, participants: int = 12, seed: int = 0) -> Study:
    """A study without pictures: as a real one's, its trials show each method on each picture, in the same orders.

    In a discrimination study each picture is asked about both of its classes. Raises DataError without methods,
    pictures or participants.
    """
    if not methods or pictures < 1 or participants < 1:
        raise DataError(
            f"a study of {len(methods)} methods, {pictures} pictures and {participants} participants; expected one or "
            "more of each"
        )
    classes = ("dog", "cat") if kind is Kind.DISCRIMINATION else ("dog",)
    options = classes if kind is Kind.DISCRIMINATION else trust.OPTIONS
    trials: list[Trial] = []
    key: dict[str, Key] = {}
    for picture in range(pictures):
        values = trust.VALUES[:: 1 if picture % 2 else -1]
        for place, name in enumerate(classes):
            for method in methods:
                trials.append(Trial(f"{len(trials):06}", (), options))
                item = f"picture {picture}: {name}"
                right = place if kind is Kind.DISCRIMINATION else None
                key[trials[-1].id] = Key(method, f"picture {picture}", item, right, () if right is not None else values)
    turns = len(methods) * len(classes)
    of_pictures = [[trial.id for trial in trials[first : first + turns]] for first in range(0, len(trials), turns)]
    order = orders(of_pictures, participants, Random(seed))
    return Study(kind, "simulated", tuple(trials), order, key, {"simulated": True})


def simulate(study: Study, people: People, seed: int = 0) -> list[Answer]:
    """What they answer; the same seed gives the same answers. Raises DataError for what can't be true of anybody."""
    random = np.random.default_rng(seed)
    answered = _coin(study, people) if study.kind is Kind.DISCRIMINATION else _score(study, people)
    pictures = sorted({key.picture for key in study.key.values()})
    hardness = dict(zip(pictures, random.normal(size=len(pictures)), strict=True))
    options = {trial.id: len(trial.options) for trial in study.trials}
    found = []
    for nth in range(people.count):
        skill, pace = random.normal(), random.normal()
        at = FIRST
        for name in study.orders[nth % len(study.orders)][: people.each]:
            key = study.key[name]
            tilt = people.skill * skill - people.difficulty * hardness[key.picture]
            place = answered(key, float(tilt), random)
            if random.random() < people.lapses:
                place = int(random.integers(options[name]))
            seconds = people.seconds * math.exp(0.3 * pace + 0.4 * random.normal())
            at += timedelta(seconds=seconds)
            when = at.isoformat(timespec="milliseconds")
            found.append(Answer(f"simulated-{nth:03}", name, place, round(seconds, 3), when))
    return found


Answered = Callable[[Key, float, np.random.Generator], int]


def _coin(study: Study, people: People) -> Answered:
    """Right with a logit of the method's centre and the tilt."""
    centres = dict(_centres(study, people, lambda logit: 1 / (1 + np.exp(-logit)), chance=0.5))

    def answered(key: Key, tilt: float, random: np.random.Generator) -> int:
        right = random.random() < 1 / (1 + math.exp(-centres[key.method] - tilt))
        return (key.right or 0) if right else 1 - (key.right or 0)

    return answered


def _score(study: Study, people: People) -> Answered:
    """The value of the scale that is nearest to the method's centre, the tilt and a spread of 1."""
    values = np.array(sorted(next(iter(study.key.values())).values))
    edges = (values[1:] + values[:-1]) / 2

    def expected(centre: Numbers) -> Numbers:
        above = [[0.5 * math.erfc((edge - each) / math.sqrt(2)) for each in centre] for edge in edges]
        return np.asarray(values[0] + np.diff(values) @ np.array(above))

    centres = dict(_centres(study, people, expected, chance=float(values.mean())))

    def answered(key: Key, tilt: float, random: np.random.Generator) -> int:
        felt = centres[key.method] + tilt + random.normal()
        return int(np.abs(np.array(key.values) - felt).argmin())

    return answered


def _centres(
    study: Study, people: People, expected: Callable[[Numbers], Numbers], chance: float
) -> Iterator[tuple[str, float]]:
    """Each method's centre at which its figure, over people, pictures and lapses, is the one that was asked for."""
    spread = math.hypot(people.skill, people.difficulty)
    for method in sorted({key.method for key in study.key.values()}):
        if method not in people.effect:
            raise DataError(f"no effect is given for {method}; given are {', '.join(people.effect) or 'none'}")
        low, high = -40.0, 40.0
        for _ in range(60):
            centre = (low + high) / 2
            found = (1 - people.lapses) * float(WEIGHTS @ expected(centre + spread * NODES)) + people.lapses * chance
            low, high = (centre, high) if found < people.effect[method] else (low, centre)
        if abs(found - people.effect[method]) > 1e-6:
            raise DataError(
                f"an effect of {people.effect[method]:g} for {method} can't be had with lapses of {people.lapses:g}; "
                f"the nearest is {found:g}"
            )
        yield method, centre
