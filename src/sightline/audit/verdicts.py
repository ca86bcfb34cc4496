"""Verdicts: what the figures of a class come to, in a sentence or two.

Of each suspect region it is asked whether it holds more of the evidence than an even map would put there (lift above
1), over all pictures of the class and in each subgroup; where regions were hidden, whether the class's probability
moves further than where elsewhere is hidden, by TELLS or more. Then a class is

- `biased` where hiding tells, whatever the maps show; without a model, where the lift is surely above 1
- `unsure` where the lift is surely above 1 and hiding does not tell: evidence without effect; and where nothing is
  sure. A shortcut that speaks for the class in some pictures only may leave a low lift on the mean, so it is unsure
  too where the quarter of the pictures with most of it has a lift of UNEVEN or more
- `clear` where the lift is surely below 1 throughout; or not surely above, and hiding surely moves less than TELLS
- `unknown` with fewer pictures than `estimates.FEWEST`

Without a suspect region the object is asked about: a lift surely below 1 is `biased`, the model looks elsewhere; surely
above 1 is `clear`; where the object fills nearly the whole picture nobody can say.

Many classes are many chances to be wrong: of a hundred intervals five miss, however honest the model. So "surely" above
needs two things: the 95 % interval, as it is told, and a t-test over pictures (of evidence less area; of `beyond`)
that stands after Holm's correction (1979) over all that were asked in the audit, which keeps the chance that any class
at all is called biased by luck at 5 %. All thresholds are ours.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from sightline.audit.estimates import FEWEST
from sightline.audit.found import Estimate, Group, Hidden, Level, Look, Region, Share, Verdict
from sightline.audit.groups import columns
from sightline.audit.hiding import Hiding
from sightline.audit.places import OBJECT

LUCK = 0.05  # the chance that any verdict of an audit blames by luck
TELLS = 0.05  # of probability, below which an effect is none
UNEVEN = 2.0  # lift of the quarter of the pictures with most evidence in a region
WHOLE = 0.9  # of what the model saw, beyond which nothing is elsewhere

Name = TypeVar("Name")


@dataclass(frozen=True)
class Case:
    """A class that is to be judged: its groups with their looks, all pictures first; what hiding told, by region."""

    name: str
    groups: Sequence[tuple[Group, Sequence[Look]]]
    hidden: Mapping[str, tuple[Hidden, Sequence[tuple[str, Hiding]]]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Lift:
    """A region's share in one group; whether it `stands` that this isn't what an even map would put there."""

    group: Group
    share: Share
    stands: bool
    uneven: float  # the lift of the quarter with most

    @property
    def judged(self) -> bool:
        return self.share.lift.value is not None and self.share.evidence.count >= FEWEST

    @property
    def high(self) -> bool:
        """Whether the interval is above 1."""
        return self.judged and (self.share.lift.low or 0.0) > 1

    @property
    def low(self) -> bool:
        """Whether the interval is below 1."""
        return self.judged and self.share.lift.high is not None and self.share.lift.high < 1


def verdicts(cases: Sequence[Case], regions: Sequence[Region]) -> list[Verdict]:
    """A verdict for each class, in order; they are judged together, since luck has as many chances as there are."""
    suspects = [region for region in regions if region.suspect]
    judged = suspects or [region for region in regions if region.name == OBJECT]
    if not judged:
        words = "Nothing says where its evidence should lie: name regions, or run over data with boxes or masks."
        return [Verdict(Level.UNKNOWN, words) for _ in cases]
    lifts = _lifts(cases, judged)
    if not suspects:
        return [_of_object(lifts[n, OBJECT][0]) for n, case in enumerate(cases)]
    tells = _tells(cases, suspects)
    return [
        _of_suspects([_of_suspect(case, lifts[n, each.name], tells.get((n, each.name))) for each in suspects], suspects)
        for n, case in enumerate(cases)
    ]


def chance(values: Sequence[float]) -> float:
    """The chance of numbers whose mean lies so far from 0, were it 0 (two-sided t-test); 1 of fewer than two."""
    from scipy.special import stdtr

    numbers = np.array(values, dtype=np.float64)
    if len(numbers) < 2 or not numbers.any():
        return 1.0
    error = numbers.std(ddof=1) / np.sqrt(len(numbers))
    return 0.0 if error == 0 else float(2 * stdtr(len(numbers) - 1, -abs(numbers.mean() / error)))


def standing(chances: Sequence[float], luck: float = LUCK) -> list[bool]:
    """Which of the chances stand when so many were asked for: Holm's, the least first, each against what is left."""
    found = [False] * len(chances)
    for rank, place in enumerate(np.argsort(chances, kind="stable").tolist()):
        if chances[place] > luck / (len(chances) - rank):
            break
        found[place] = True
    return found


def uneven(looks: Sequence[Look], region: Region) -> float:
    """The lift of the quarter of the looks that has most evidence in the region; 0 where none has the region."""
    evidence, area = columns(looks, region)
    known = ~np.isnan(evidence)
    if not known.any():
        return 0.0
    most = np.argsort(-evidence[known], kind="stable")[: max(1, int(known.sum()) // 4)]
    return float(evidence[known][most].sum() / area[known][most].sum())


def _lifts(cases: Sequence[Case], regions: Sequence[Region]) -> dict[tuple[int, str], list[_Lift]]:
    """Each class's lifts of each region, of all its pictures first."""
    asked = [
        (n, region, group, looks) for n, case in enumerate(cases) for region in regions for group, looks in case.groups
    ]
    stands = _stand(
        {
            place: [
                (look.picture, pair[0] - pair[1]) for look in looks if (pair := look.shares[region.name]) is not None
            ]
            for place, (_, region, _, looks) in enumerate(asked)
        }
    )
    found: dict[tuple[int, str], list[_Lift]] = defaultdict(list)
    for place, (n, region, group, looks) in enumerate(asked):
        share = next(each for each in group.shares if each.region == region)
        found[n, region.name].append(_Lift(group, share, stands.get(place, False), uneven(looks, region)))
    return found


def _tells(cases: Sequence[Case], suspects: Sequence[Region]) -> dict[tuple[int, str], bool]:
    """Whether hiding surely tells, for each class and region of which enough pictures were hidden."""
    stands = _stand(
        {
            (n, region.name): [
                (picture, each.beyond) for picture, each in case.hidden[region.name][1] if not np.isnan(each.beyond)
            ]
            for n, case in enumerate(cases)
            for region in suspects
            if region.name in case.hidden
        }
    )
    beyond = {(n, name): cases[n].hidden[name][0].beyond for n, name in stands}
    return {
        key: stands[key] and each.low is not None and each.low > 0 and (each.value or 0.0) >= TELLS
        for key, each in beyond.items()
    }


def _stand(asked: Mapping[Name, Sequence[tuple[str, float]]]) -> dict[Name, bool]:
    """Whether the mean of each of many lists of (picture, number) surely isn't 0; too few pictures are left out."""
    chances = {}
    for name, numbers in asked.items():
        found: dict[str, list[float]] = defaultdict(list)
        for picture, number in numbers:
            found[picture].append(number)
        if len(found) >= FEWEST:
            chances[name] = chance([float(np.mean(each)) for each in found.values()])
    return dict(zip(chances, standing(list(chances.values())), strict=True))


def _of_object(lift: _Lift) -> Verdict:
    """Whether the class is looked for where it is."""
    if not lift.judged:
        return Verdict(Level.UNKNOWN, _few(lift))
    words = _says(lift)
    if (lift.share.area or 0.0) > WHOLE:
        return Verdict(Level.UNKNOWN, f"{words} Hardly anything lies elsewhere, so nothing can be concluded.")
    if lift.low and lift.stands:
        return Verdict(Level.BIASED, f"{words} The model looks elsewhere.")
    if lift.high:
        return Verdict(Level.CLEAR, f"{words} The model looks at it.")
    return Verdict(Level.UNSURE, f"{words} Whether the model looks at it or elsewhere isn't sure.")


def _of_suspects(found: Sequence[Verdict], suspects: Sequence[Region]) -> Verdict:
    """The verdicts of a class's suspect regions as one, the worst first; clear only where all are."""
    order = [Level.BIASED, Level.UNSURE, Level.UNKNOWN, Level.CLEAR]
    worst = min((each.level for each in found), key=order.index)
    if worst is Level.UNKNOWN and any(each.level is Level.CLEAR for each in found):
        worst = Level.UNSURE
    words = " ".join(each.words for each in sorted(found, key=lambda each: order.index(each.level)))
    blamed = (region.name for region, each in zip(suspects, found, strict=True) if each.level is Level.BIASED)
    return Verdict(worst, words, tuple(blamed))


def _of_suspect(case: Case, lifts: Sequence[_Lift], tells: bool | None) -> Verdict:
    """What one region comes to; `tells` is None where it wasn't hidden in enough pictures."""
    all_, judged = lifts[0], [each for each in lifts if each.judged]
    if not all_.judged:
        return Verdict(Level.UNKNOWN, _few(all_))
    region = all_.share.region.name
    above = [each for each in judged if each.high and each.stands]
    words = [_says(all_), *(_says_of_part(each) for each in above if each is not all_)]
    hidden = case.hidden[region][0] if region in case.hidden else None
    if hidden is not None:
        words.append(_says_hidden(case.name, hidden))

    def verdict(level: Level, *more: str) -> Verdict:
        return Verdict(level, " ".join([*words, *more]))

    if tells:
        return verdict(Level.BIASED, *([] if above else ["The maps alone would not have told."]))
    if above and tells is None:
        return verdict(Level.BIASED)
    if above:
        return verdict(Level.UNSURE, "So there is evidence without effect.")
    if any(each.high for each in judged):
        return verdict(Level.UNSURE, "For as many questions as were asked that isn't sure enough.")
    if tells is not None and hidden is not None and hidden.beyond.high is not None and hidden.beyond.high < TELLS:
        return verdict(Level.CLEAR)
    if (most := max(each.uneven for each in judged)) >= UNEVEN:
        quarter = f"Over the quarter of the pictures with most of it, {most:.1f} times"
        return verdict(Level.UNSURE, f"{quarter}: ask for subgroups, or give the model, to hide it.")
    return verdict(Level.CLEAR if all(each.low for each in judged) else Level.UNSURE)


def _says(lift: _Lift) -> str:
    share = lift.share
    return (
        f"{percent(share.evidence)} of the evidence lies on the {share.region.name}, which is "
        f"{(share.area or 0.0) * 100:.1f} % of what the model sees: {times(share.lift)} its share."
    )


def _says_of_part(lift: _Lift) -> str:
    return f"Where {lift.group.name.replace('=', ' is ', 1)} it is {times(lift.share.lift)}."


def _says_hidden(name: str, hidden: Hidden) -> str:
    drop, beyond = hidden.drop.value or 0.0, hidden.beyond
    falls = f"{'falls' if drop >= 0 else 'rises'} by {abs(drop):.2f} on the mean"
    if beyond.value is None or beyond.low is None or beyond.high is None:
        return f"Where it is hidden, the probability of {name} {falls}; there is no room to hide as much elsewhere."
    low, high = (-beyond.high, -beyond.low) if beyond.value < 0 else (beyond.low, beyond.high)
    interval = f"[{low:.2f}, {high:.2f}]".replace("-0.00", "0.00")
    return (
        f"Where it is hidden, the probability of {name} moves {abs(beyond.value):.2f} {interval} "
        f"{'further' if beyond.value >= 0 else 'less'} than where as much is hidden elsewhere, and {falls}."
    )


def _few(lift: _Lift) -> str:
    count, region = lift.share.evidence.count, lift.share.region.name
    if not count:
        return f"None of its pictures is known to have the {region} in sight, with any evidence."
    pictures = "1 picture has" if count == 1 else f"{count} pictures have"
    return f"Only {pictures} the {region}, too few to conclude from; expected {FEWEST} or more."


def percent(told: Estimate) -> str:
    """A share with its interval: 7.6 % [6.1, 9.3]."""
    return f"{100 * (told.value or 0):.1f} % [{100 * (told.low or 0):.1f}, {100 * (told.high or 0):.1f}]"


def times(told: Estimate) -> str:
    """A lift with its interval: 3.0 times [2.4, 3.7]."""
    digits = 1 if (told.value or 0) >= 1.95 else 2
    return f"{told.value:.{digits}f} times [{told.low:.{digits}f}, {told.high:.{digits}f}]"
