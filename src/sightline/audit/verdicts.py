"""Verdicts: what the figures of a class come to, in a sentence or two.

Of each suspect region it is asked whether it holds more of the evidence than an even map would put there (lift above
1), over all pictures of the class and in each subgroup; where regions were hidden, whether the class's probability
moves further than where elsewhere is hidden, by TELLS or more. Then a class is

- `biased` where hiding tells, whatever the maps show: it surely moves the probability further, and by TELLS on the
  mean as it was measured; without a model, where the lift is surely above 1
- `clear` where hiding surely moves less than TELLS (beyond hiding elsewhere, or at all), and no lift seems above 1;
  without a model, where the lift is surely below 1
- `unsure` else: the lift is surely above 1 and hiding surely moves next to nothing, which is evidence without effect;
  or hiding may tell, or had no room elsewhere to be compared with; or nothing is sure. A shortcut that speaks for the
  class in some pictures only may leave a low lift on the mean, so it is unsure too where the quarter of the pictures
  with most of it has a lift of UNEVEN or more
- `unknown` with fewer pictures than `estimates.FEWEST`

Without a suspect region the object is asked about: a lift surely below 1 is `biased`, the model looks elsewhere; surely
above 1 is `clear`; where the object fills nearly the whole picture nobody can say.

Many classes are many chances to be wrong: of a hundred intervals five miss, however honest the model. So "surely" needs
two things: the 95 % interval, as it is told, and a t-test over pictures that stands after Holm's correction (1979) over
all that were asked of the kind in the audit. There are three kinds: evidence less area, `beyond` against nothing, and
what hiding moves against TELLS. Of each the chance that anything at all is sure by luck is 5 %, as far as a t-test
holds; `biased` comes of one of them only, the first where nothing was hidden and the second where it was.

A rare shortcut is in no picture of a small draw, and neither interval nor test can know of it; and of skewed shares a
t-test clears more often than it says. So for `clear` there must be CLEAR_FROM pictures, and smaller subgroups are
named. How often it was said of one class though it should not be, of 1000 draws of 40, 60 and 100 pictures each: where
a tenth of the pictures hold 0.6, twice the area's share on the mean, 1.9, 0.2 and 0.0 %; where a tenth hold 0.3, once
its share, 8.5, 5.1 and 2.0 %; of exponential shares, once the area's, 5.7, 5.7 and 4.5 %; of gamma shares of shape 4,
4.0, 3.7 and 2.6 %. Of an object that a tenth of the maps miss, once its share, 8.5 % of 40 and 3.0 % of 100; where
hiding moves a tenth of the pictures by 0.6, 7.4 % of 40. Fewer than 40 were never called clear.

All thresholds are ours.
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
CLEAR_FROM = 40  # pictures, below which nothing is called clear
UNEVEN = 2.0  # lift of the quarter of the pictures with most evidence in a region
WHOLE = 0.9  # of what the model saw, beyond which nothing is elsewhere
NOT_SURE = "For as many questions as were asked that isn't sure enough."

Name = TypeVar("Name")


@dataclass(frozen=True)
class Case:
    """A class that is to be judged: its groups with their looks, all pictures first; what hiding told, by region.

    `name` is the class's own, whose probability was asked for.
    """

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
    def enough(self) -> bool:
        """Whether there are enough pictures to call it clear."""
        return self.share.evidence.count >= CLEAR_FROM

    @property
    def high(self) -> bool:
        """Whether the interval is above 1."""
        return self.judged and (self.share.lift.low or 0.0) > 1

    @property
    def low(self) -> bool:
        """Whether the interval is below 1."""
        return self.judged and self.share.lift.high is not None and self.share.lift.high < 1


@dataclass(frozen=True)
class _Effect:
    """What hiding a region did in enough pictures: whether it surely `tells`, or surely moves less than TELLS."""

    hidden: Hidden
    tells: bool
    nothing: bool

    @property
    def little(self) -> Estimate | None:
        """The measure whose interval ends below TELLS: what is beyond hiding elsewhere, or what moves at all."""
        return next((each for each in (self.hidden.beyond, self.hidden.moved) if _below(each)), None)


def verdicts(cases: Sequence[Case], regions: Sequence[Region]) -> list[Verdict]:
    """A verdict for each class, in order; they are judged together, since luck has as many chances as there are."""
    suspects = [region for region in regions if region.suspect]
    judged = suspects or [region for region in regions if region.name == OBJECT]
    if not judged:
        words = "Nothing says where its evidence should lie: name regions, or run over data with boxes or masks."
        return [Verdict(Level.UNKNOWN, words) for _ in cases]
    lifts = _lifts(cases, judged)
    if not suspects:
        return [_of_object(case, lifts[n, OBJECT][0]) for n, case in enumerate(cases)]
    effects = _effects(cases, suspects)
    return [
        _of_suspects(
            [_of_suspect(case, lifts[n, each.name], effects.get((n, each.name))) for each in suspects], suspects
        )
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
    numbers = {
        place: [(look.picture, pair[0] - pair[1]) for look in looks if (pair := look.shares[region.name]) is not None]
        for place, (_, region, _, looks) in enumerate(asked)
    }
    stands = _stand(numbers)
    found: dict[tuple[int, str], list[_Lift]] = defaultdict(list)
    for place, (n, region, group, looks) in enumerate(asked):
        share = next(each for each in group.shares if each.region == region)
        found[n, region.name].append(_Lift(group, share, stands.get(place, False), uneven(looks, region)))
    return found


def _effects(cases: Sequence[Case], suspects: Sequence[Region]) -> dict[tuple[int, str], _Effect]:
    """What hiding did, for each class and region of which enough pictures were hidden."""
    told = {
        (n, region.name): case.hidden[region.name]
        for n, case in enumerate(cases)
        for region in suspects
        if region.name in case.hidden and case.hidden[region.name][0].drop.count >= FEWEST
    }
    beyond = {
        key: [(name, each.beyond) for name, each in own if not np.isnan(each.beyond)] for key, (_, own) in told.items()
    }
    moved = {key: [(name, abs(each.drop)) for name, each in own] for key, (_, own) in told.items()}
    tell = _stand(beyond)
    small = _stand(
        {
            (*key, what): [(name, value - TELLS) for name, value in numbers]
            for what, each in (("beyond", beyond), ("moved", moved))
            for key, numbers in each.items()
        }
    )
    found = {}
    for key, (hidden, _) in told.items():
        low, value = hidden.beyond.low or 0.0, hidden.beyond.value or 0.0
        nothing = any(
            _below(each) and each.count >= CLEAR_FROM and small.get((*key, what), False)
            for what, each in (("beyond", hidden.beyond), ("moved", hidden.moved))
        )
        found[key] = _Effect(hidden, tell.get(key, False) and low > 0 and value >= TELLS, nothing)
    return found


def _below(told: Estimate) -> bool:
    return told.count >= FEWEST and told.high is not None and told.high < TELLS


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


def _of_object(case: Case, lift: _Lift) -> Verdict:
    """Whether the class is looked for where it is; what hiding it does is only told, as a class may need its object."""
    if not lift.judged:
        return Verdict(Level.UNKNOWN, _few(lift))
    hidden = case.hidden[OBJECT][0] if OBJECT in case.hidden else None
    told = [] if hidden is None or hidden.drop.count < FEWEST else _says_hidden(case.name, hidden)
    words = " ".join([_says(lift), *told])
    if (lift.share.area or 0.0) > WHOLE:
        return Verdict(Level.UNKNOWN, f"{words} Hardly anything lies elsewhere, so nothing can be concluded.")
    if lift.low and lift.stands:
        return Verdict(Level.BIASED, f"{words} The model looks elsewhere.")
    if lift.high and lift.stands and lift.enough:
        return Verdict(Level.CLEAR, f"{words} The model looks at it.")
    if lift.high and not lift.enough:
        return Verdict(Level.UNSURE, f"{words} {_too_few(lift.share.evidence.count)}")
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


def _of_suspect(case: Case, lifts: Sequence[_Lift], effect: _Effect | None) -> Verdict:
    """What one region comes to; `effect` is None where it wasn't hidden in enough pictures."""
    all_, judged = lifts[0], [each for each in lifts if each.judged]
    if not all_.judged:
        return Verdict(Level.UNKNOWN, _few(all_))
    above = [each for each in judged if each.high and each.stands]
    words = [_says(all_), *(_says_of_part(each) for each in above if each is not all_)]
    if effect is not None:
        words += _says_hidden(case.name, effect.hidden)

    def verdict(level: Level, *more: str) -> Verdict:
        return Verdict(level, " ".join([*words, *more]))

    if effect is not None and effect.tells:
        return verdict(Level.BIASED, *([] if above else ["The maps alone would not have told."]))
    if above and effect is None:
        return verdict(Level.BIASED)
    if above and effect is not None and effect.little is not None:
        return verdict(Level.UNSURE, "So there is evidence without effect.")
    if not above and any(each.high for each in judged):
        return verdict(Level.UNSURE, NOT_SURE)
    if effect is not None:
        return verdict(Level.CLEAR) if effect.nothing and not above else verdict(Level.UNSURE, _unsettled(effect))
    if (most := max(each.uneven for each in judged)) >= UNEVEN:
        quarter = f"Over the quarter of the pictures with most of it, {most:.1f} times"
        return verdict(Level.UNSURE, f"{quarter}: ask for subgroups, or give the model, to hide it.")
    if not all(each.low for each in judged):
        return verdict(Level.UNSURE)
    if not all_.enough:
        return verdict(Level.UNSURE, _too_few(all_.share.evidence.count))
    if not all(each.stands for each in judged if each.enough):
        return verdict(Level.UNSURE, NOT_SURE)
    small = [each.group.name.replace("=", " is ", 1) for each in lifts if not each.enough]
    return verdict(Level.CLEAR, *([f"Too few pictures to say so where {', or '.join(small)}."] if small else []))


def _unsettled(effect: _Effect) -> str:
    """Why it isn't sure what hiding tells."""
    if effect.little is not None:
        few = effect.little.count < CLEAR_FROM
        return _too_few(effect.little.count) if few else NOT_SURE
    if effect.hidden.beyond.count < FEWEST:
        return "Without that nobody can say whether the region tells."
    return "Hiding it may tell, which isn't sure."


def _too_few(count: int) -> str:
    return f"{count} pictures are too few to call it clear; expected {CLEAR_FROM} or more."


def _says(lift: _Lift) -> str:
    share = lift.share
    return (
        f"{_percent(share.evidence)} of the evidence lies on the {share.region.name}, which is "
        f"{(share.area or 0.0) * 100:.1f} % of what the model sees: {_times(share.lift)} its share."
    )


def _says_of_part(lift: _Lift) -> str:
    return f"Where {lift.group.name.replace('=', ' is ', 1)} it is {_times(lift.share.lift)}."


def _says_hidden(name: str, hidden: Hidden) -> list[str]:
    drop, beyond = hidden.drop.value or 0.0, hidden.beyond
    falls = f"{'falls' if drop >= 0 else 'rises'} by {abs(drop):.2f} on the mean"
    said = f"Where it is hidden, the probability of {name}"
    if beyond.count < FEWEST or beyond.value is None or beyond.low is None or beyond.high is None:
        moves = f"moves {_within(hidden.moved)}"
        return [f"{said} {moves} and {falls}; there is {_room(beyond.count)} to hide as much elsewhere."]
    more = "further"
    if beyond.value < 0:
        more, beyond = "less", Estimate(-beyond.value, -(beyond.high or 0), -(beyond.low or 0), beyond.count)
    words = [f"{said} moves {_within(beyond)} {more} than where as much is hidden elsewhere, and {falls}."]
    if (hidden.on_object.value or 0.0) > 0.5 and hidden.region.name != OBJECT:
        words.append(
            "Most of it lies on the object, so that hiding it hides some of the object; hiding elsewhere doesn't."
        )
    return words


def _room(count: int) -> str:
    return "no room" if not count else f"room in {count} pictures only" if count > 1 else "room in 1 picture only"


def _within(told: Estimate) -> str:
    """A movement of the probability with its interval: 0.07 [0.06, 0.09]."""
    return f"{told.value or 0:.2f} [{told.low or 0:.2f}, {told.high or 0:.2f}]".replace("-0.00", "0.00")


def _few(lift: _Lift) -> str:
    count, region = lift.share.evidence.count, lift.share.region.name
    if not count:
        return f"None of its pictures is known to have the {region} in sight, with any evidence."
    pictures = "1 picture has" if count == 1 else f"{count} pictures have"
    return f"Only {pictures} the {region}, too few to conclude from; expected {FEWEST} or more."


def _percent(told: Estimate) -> str:
    """A share with its interval: 7.6 % [6.1, 9.3]."""
    return f"{100 * (told.value or 0):.1f} % [{100 * (told.low or 0):.1f}, {100 * (told.high or 0):.1f}]"


def _times(told: Estimate) -> str:
    """A lift with its interval: 3.0 times [2.4, 3.7]."""
    digits = 1 if (told.value or 0) >= 1.95 else 2
    return f"{told.value:.{digits}f} times [{told.low:.{digits}f}, {told.high:.{digits}f}]"
