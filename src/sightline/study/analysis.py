"""What the answers of a study say: each method's figure, whether it differs from chance and from the others'."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from itertools import combinations
from typing import Any

import numpy as np

from sightline.errors import DataError
from sightline.study.agreement import Level, alpha
from sightline.study.doubts import doubts, known
from sightline.study.estimates import Estimate, difference, mean, mean_against, share, share_against
from sightline.study.judged import Columns, Judged, Numbers, judged
from sightline.study.permutation import holm, swapped
from sightline.study.trials import Answer, Kind, Study

CHANCE = {Kind.DISCRIMINATION: 0.5, Kind.TRUST: 0.0}
SURE = 0.05  # of p, after Holm's correction

PAPER = {
    Kind.DISCRIMINATION: {
        "guided-backprop": 0.4444,
        "deconvnet": 0.5333,
        "deconvnet times grad-cam": 0.6037,
        "grad-cam times deconvnet": 0.6037,
        "guided-grad-cam": 0.6123,
    },
    Kind.TRUST: {"guided-backprop": 1.00, "guided-grad-cam": 1.27},
}
"""Selvaraju et al., arXiv 1610.02391, section 5: VGG-16 on VOC 2007; 43 workers, 90 pairs of picture and class, 9
answers to each map (discrimination), and 54 workers, VGG-16 against AlexNet (trust). What it calls Deconvolution
Grad-CAM is `compose.product` of both here."""


@dataclass(frozen=True)
class OfMethod:
    """A method's answers: the share that is right (0 to 1), or the mean score (-2 to +2).

    `p` is against chance, which is 0.5 or 0, with participants and pictures taken as drawn; `sure` the same after
    Holm's correction for all methods. `seen` is whether a difference from chance can be claimed: `sure` is below 0.05
    and the interval doesn't hold chance. `shares` is what share of the answers counts for each value, `agreement`
    Krippendorff's alpha, `seconds` the median, `paper` the paper's figure.
    """

    method: str
    answers: int
    people: int
    items: int
    figure: Estimate
    p: float
    sure: float
    seen: bool
    shares: dict[float, float]
    agreement: float | None
    seconds: float
    paper: float | None


@dataclass(frozen=True)
class Pair:
    """Two methods on the `items`, pictures and classes, that both were judged on: the first's figure less the other's.

    `sure` is p after Holm's correction for all pairs that have such items; of another, difference, p and sure are
    None. `seen` is whether a difference can be claimed: `sure` is below 0.05 and the interval doesn't hold 0.
    """

    first: str
    other: str
    items: int
    difference: Estimate | None
    p: float | None
    sure: float | None
    seen: bool


@dataclass(frozen=True)
class OfPerson:
    """One participant: how many answers, the mean of what they count for, the median seconds, and doubts' names."""

    participant: str
    answers: int
    value: float
    seconds: float
    doubts: tuple[str, ...]
    dropped: bool


@dataclass(frozen=True)
class Analysis:
    """A study's answers put together; `kept` are those that count, `left` those of dropped participants."""

    kind: Kind
    methods: tuple[OfMethod, ...]
    pairs: tuple[Pair, ...]
    agreement: float | None
    people: tuple[OfPerson, ...]
    drop: tuple[str, ...]
    seed: int
    study: dict[str, Any]
    kept: tuple[Judged, ...] = field(repr=False)
    left: tuple[Judged, ...] = field(repr=False)

    def __getitem__(self, method: str) -> OfMethod:
        found = {each.method: each for each in self.methods}
        if method not in found:
            near = get_close_matches(method, found, n=3, cutoff=0.4) or [*found]
            raise DataError(f"no answer is to a map by {method!r}; nearest: {', '.join(near)}")
        return found[method]

    def facts(self) -> dict[str, Any]:
        """All but the single answers, as JSON values."""
        from sightline.study.words import sentences

        return {
            "kind": self.kind,
            "answers": len(self.kept),
            "chance": CHANCE[self.kind],
            "methods": [asdict(each) for each in self.methods],
            "pairs": [asdict(each) for each in self.pairs],
            "agreement": self.agreement,
            "participants": [asdict(each) for each in self.people],
            "dropped for": list(self.drop),
            "answers left out": len(self.left),
            "seed": self.seed,
            "study": self.study,
            "in words": sentences(self),
        }

    def rows(self) -> list[dict[str, Any]]:
        """A row for each answer with the key beside it, dropped participants' too."""
        return [
            each.row() | {"dropped": dropped}
            for dropped, some in ((False, self.kept), (True, self.left))
            for each in some
        ]


def analyse(study: Study, answers: Sequence[Answer], *, drop: Sequence[str] = (), seed: int = 0) -> Analysis:
    """Put a study's answers together; of several answers of one participant to one trial the first counts.

    `drop` names the doubts (see `doubts.DOUBTS`) whose participants don't count; doubts come from all answers.
    Raises DataError where nothing is answered or left, and for answers to another study.
    """
    dropped_for = {doubt.name for doubt in known(drop)}
    every = judged(study, answers)
    if not every:
        raise DataError("nobody has answered this study yet; serve it, or give the files of --answers")
    about = doubts(every)
    gone = {name for name, found in about.items() if dropped_for & set(found)}
    kept = [each for each in every if each.answer.participant not in gone]
    if not kept:
        raise DataError(f"each of the {len(gone)} participants is dropped ({', '.join(drop)}); drop for less")
    order = list(dict.fromkeys([*study.facts.get("methods", ()), *(key.method for key in study.key.values())]))
    by_method = {method: [each for each in kept if each.key.method == method] for method in order}
    by_method = {method: own for method, own in by_method.items() if own}
    return Analysis(
        kind=study.kind,
        methods=_methods(study.kind, by_method),
        pairs=_pairs(by_method, seed),
        agreement=_agreement(study.kind, kept),
        people=_people(every, about, gone),
        drop=tuple(drop),
        seed=seed,
        study=dict(study.facts),
        kept=tuple(kept),
        left=tuple(each for each in every if each.answer.participant in gone),
    )


def _methods(kind: Kind, by_method: dict[str, list[Judged]]) -> tuple[OfMethod, ...]:
    chance = CHANCE[kind]
    rule, against = (share, share_against) if kind is Kind.DISCRIMINATION else (mean, mean_against)
    columns = [Columns.of(own) for own in by_method.values()]
    figures, found = [rule(own) for own in columns], [against(own, chance) for own in columns]
    return tuple(
        OfMethod(
            method=method,
            answers=len(own),
            people=len({each.answer.participant for each in own}),
            items=len({each.key.item for each in own}),
            figure=figure,
            p=p,
            sure=sure,
            seen=sure < SURE and not figure.holds(chance),
            shares=_shares(own),
            agreement=_agreement(kind, own),
            seconds=float(np.median([each.answer.seconds for each in own])),
            paper=PAPER[kind].get(method),
        )
        for (method, own), figure, p, sure in zip(by_method.items(), figures, found, holm(found), strict=True)
    )


def _pairs(by_method: dict[str, list[Judged]], seed: int) -> tuple[Pair, ...]:
    found: dict[tuple[str, str], tuple[int, Estimate, float]] = {}
    for first, other in combinations(by_method, 2):
        both = {each.key.item for each in by_method[first]} & {each.key.item for each in by_method[other]}
        one, two = ([each for each in by_method[method] if each.key.item in both] for method in (first, other))
        if not both:
            continue
        pictures = sorted({each.key.picture for each in one})
        apart = difference(Columns.of([*one, *two]), np.repeat([1, 0], [len(one), len(two)]))
        found[first, other] = len(both), apart, swapped(_sums(one, pictures), _sums(two, pictures), seed)
    corrected = dict(zip(found, holm([p for *_, p in found.values()]), strict=True))
    pairs = []
    for names in combinations(by_method, 2):
        if names in found:
            (items, apart, p), sure = found[names], corrected[names]
            pairs.append(Pair(*names, items, apart, p, sure, seen=sure < SURE and not apart.holds(0)))
        else:
            pairs.append(Pair(*names, 0, None, None, None, seen=False))
    return tuple(pairs)


def _sums(answers: Sequence[Judged], pictures: Sequence[str]) -> Numbers:
    """The sum of the answers to each picture, and their number (pictures, 2)."""
    place = {picture: nth for nth, picture in enumerate(pictures)}
    found = np.zeros((len(pictures), 2))
    for each in answers:
        found[place[each.key.picture]] += each.value, 1
    return found


def _shares(answers: Sequence[Judged]) -> dict[float, float]:
    """What share of the answers counts for each value, of all values that could be answered."""
    counts = Counter(each.value for each in answers)
    possible = {value for each in answers for value in each.key.values} or {0.0, 1.0}
    return {value: counts[value] / len(answers) for value in sorted(possible)}


def _agreement(kind: Kind, answers: Sequence[Judged]) -> float | None:
    units = defaultdict(list)
    for each in answers:
        units[each.trial.id].append(float(each.answer.answer) if kind is Kind.DISCRIMINATION else each.value)
    return alpha(units.values(), Level.NOMINAL if kind is Kind.DISCRIMINATION else Level.INTERVAL)


def _people(answers: Sequence[Judged], about: dict[str, tuple[str, ...]], gone: set[str]) -> tuple[OfPerson, ...]:
    people = defaultdict(list)
    for each in answers:
        people[each.answer.participant].append(each)
    return tuple(
        OfPerson(
            name,
            len(own),
            float(np.mean([each.value for each in own])),
            float(np.median([each.answer.seconds for each in own])),
            about[name],
            name in gone,
        )
        for name, own in people.items()
    )
