"""What an audit found: for each class where its evidence lies, in whom, how sure that is, and a verdict in words."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from torch import Tensor

from sightline.errors import DataError

SIDE = 32  # cells of an average map's side


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure of some pictures; 95 % of draws of the pictures, with replacement, give one from `low` to `high`.

    All are None where no picture could be judged; `count` is how many could.
    """

    value: float | None
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Region:
    """A kind of place in pictures: the object, a watermark, a face. Evidence should not lie in a `suspect` one."""

    name: str
    suspect: bool


@dataclass(frozen=True, slots=True)
class Share:
    """How much of the positive evidence lies in a region (0 to 1), over the pictures that have it.

    `area` is the region's share of what the model saw of these pictures, which an even map would give; `lift` is
    evidence over area, of means.
    """

    region: Region
    evidence: Estimate
    area: float | None
    lift: Estimate


@dataclass(frozen=True)
class Look:
    """One row of the run as it was audited: its picture, its target's class, and where the evidence lies.

    `correct` is whether the picture's prediction is one of its labels, and `right` whether the class is found: whether
    it is among as many of the model's best classes as the picture has labels, where the row was asked for by label;
    else as `correct`. `shares` by region are (evidence, area), each 0 to 1; None where the picture hasn't the region,
    it isn't known, the model could not see it, or the map is nowhere above zero. `misplaced` is (evidence, area) of
    where none should lie.
    """

    picture: str
    place: int
    content: str
    labels: tuple[str, ...]
    about: Mapping[str, str]
    index: int
    target: str
    predicted: str
    correct: bool | None
    right: bool | None
    probability: float | None
    shares: Mapping[str, tuple[float, float] | None]
    misplaced: tuple[float, float] | None


@dataclass(frozen=True)
class Example:
    """One picture of a group, by its name and its target's class, and whether that was found (see Look's `right`).

    `shares` by region are None where the picture hasn't it.
    """

    picture: str
    index: int
    target: str
    predicted: str
    right: bool | None
    probability: float | None
    shares: Mapping[str, float | None]


@dataclass(frozen=True)
class Group:
    """Some pictures of a class: all, those predicted right or wrong, a subgroup `COLUMN=VALUE`, or a cluster.

    `accuracy` of a class's pictures is how many of them the class was found in (see Look's `right`); of all classes'
    together, how many of the pictures were predicted `correct`, each once.
    `average` (SIDE, SIDE) is the mean of the maps' positive parts, each map as a share of its own evidence, in the
    frame of the whole picture, brought to a square; `aligned` the same in the frame of the object's box, which spans
    the middle half of each side, where the boxes are known. Both are None for no pictures.
    """

    name: str
    pictures: int
    accuracy: Estimate
    shares: tuple[Share, ...]
    average: Tensor | None = field(repr=False)
    aligned: Tensor | None = field(repr=False)
    examples: tuple[Example, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Hidden:
    """What becomes of a class when a region is hidden in its pictures, beside hiding as much elsewhere.

    `drop` is the mean fall of the class's probability (-1 to 1), `flips` the share of pictures whose prediction
    changes; `elsewhere_drop` and `elsewhere_flips` the same where a shape of the same size and form elsewhere is
    hidden. A marker that speaks for the class in some pictures and against it in others leaves a drop of nothing on
    the mean, so `beyond` counts how far the probability moves, whichever way: how much further than where elsewhere is
    hidden, the mean of |fall| less |fall elsewhere|, paired by picture.
    """

    region: Region
    drop: Estimate
    flips: Estimate
    elsewhere_drop: Estimate
    elsewhere_flips: Estimate
    beyond: Estimate
    moved: Estimate
    on_object: Estimate


class Level(StrEnum):
    """How bad it is; `sightline.audit.verdicts` has the rules."""

    BIASED = "biased"  # surely more evidence where it should not lie than its area's share, or hiding it surely tells
    UNSURE = "unsure"  # nothing is sure, or maps and hiding disagree
    CLEAR = "clear"  # surely no more than its area's share, or hiding it surely moves next to nothing
    UNKNOWN = "unknown"  # nothing is known of where it should lie, or there are too few pictures


@dataclass(frozen=True, slots=True)
class Verdict:
    """One sentence or two with figures, and the regions that it blames."""

    level: Level
    words: str
    blamed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """The greatest difference between two subgroups in a region's lift: `more` less `less`.

    It is that of a suspect region, where there is any, and of subgroups with enough pictures to judge
    (`estimates.FEWEST`). The greatest of many differences is great by luck: `of` is how many there were, and the
    interval is so much wider that all of them together lie in theirs in 95 % of the draws (Bonferroni's). Of subgroups
    that don't differ the greatest was above 0 in 7 % of 200 audits (2 of 30 pictures each), 11.5 % (12 of 30) and 19 %
    (12 of 10): draws of few pictures are too narrow.
    """

    region: Region
    more: str
    less: str
    difference: Estimate
    of: int


@dataclass(frozen=True)
class ClassAudit:
    """One class: all its pictures, right beside wrong, subgroups, clusters of maps, and the verdict.

    `misplaced` is the share of the evidence that lies where it should not: in suspect regions, or without these
    outside the object; classes are ranked by it. `gap` is the greatest difference of a share between two subgroups,
    with both's names, where there are any.
    """

    name: str
    index: int
    all: Group
    right: Group
    wrong: Group
    subgroups: tuple[Group, ...]
    clusters: tuple[Group, ...]
    hidden: tuple[Hidden, ...]
    misplaced: Estimate
    verdict: Verdict
    gap: Gap | None = None


@dataclass(frozen=True)
class Change:
    """A class, or all pictures, in one run and in another over the same pictures; differences are after less before."""

    name: str
    pictures: int
    accuracy: tuple[Estimate, Estimate, Estimate]  # before, after, difference; a class's or all pictures', as Group's
    evidence: Mapping[str, tuple[Estimate, Estimate, Estimate]]  # the same by region


@dataclass(frozen=True)
class Audit:
    """A run's answer to "where does the model look?": classes, the worst first, and all pictures together.

    `question` is the run's, `method` the one of its methods that was looked at, `by` the column of the subgroups.
    `problems` are lines about pictures that couldn't be used. `before` is the run that it is compared with. `looks`
    are the rows that all of it is made of.
    """

    question: Mapping[str, Any]
    method: str
    regions: tuple[Region, ...]
    by: str | None
    everything: Group
    subgroups: tuple[Group, ...]
    classes: tuple[ClassAudit, ...]
    problems: tuple[str, ...]
    before: Mapping[str, Any] | None = None
    changes: tuple[Change, ...] = ()
    looks: tuple[Look, ...] = field(default=(), repr=False)

    def __getitem__(self, name: str | int) -> ClassAudit:
        """A class by its name, or by the model's index of it.

        Raises DataError for one that wasn't audited, with the nearest names, and where several are called so.
        """
        found = [each for each in self.classes if name == (each.index if isinstance(name, int) else each.name)]
        if len(found) == 1:
            return found[0]
        if found:
            each = ", ".join(f"{one.name} ({one.index})" for one in found)
            raise DataError(f"{len(found)} classes are called {name!r}: {each}; take one of found.classes")
        names = [each.name for each in self.classes]
        near = ", ".join(difflib.get_close_matches(str(name), names, n=4)) or ", ".join(names[:4]) or "none"
        raise DataError(f"no class {name!r} was audited; nearest: {near}")
