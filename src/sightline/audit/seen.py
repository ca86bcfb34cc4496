"""What was seen: each row of a run is looked at once, and its map counted in the average maps of its groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sightline.audit.averages import Averages, Cells, around, in_frame, whole
from sightline.audit.evidence import as_shares, misplaced, share
from sightline.audit.found import Example, Look, Region
from sightline.audit.groups import titled, told
from sightline.audit.places import OBJECT, Place
from sightline.regions import Mask
from sightline.runs.explaining import LABEL
from sightline.runs.kept import Row

ALL, RIGHT, WRONG = "all", "right", "wrong"
MOST = 500  # maps of a class that are kept to be clustered, drawn by the seed: memory doesn't grow with the pictures

Class = tuple[int, str]
"""The model's index of a target's class, and the target in words."""


@dataclass(frozen=True, eq=False)
class Kept:
    """A map that is kept: its look's place among all, and its cells in the picture's frame and in the object's."""

    look: int
    average: Cells
    aligned: Cells | None


class Seen:
    """The looks of a run, the average maps of their groups, and of each class some maps to be clustered."""

    def __init__(self, regions: Sequence[Region], by: str | None, seed: int) -> None:
        self.regions, self.by = regions, by
        self.looks: list[Look] = []
        self.averages = Averages()
        self.kept: dict[Class, list[Kept]] = {}
        self.names: dict[int, str] = {}  # the model's classes, of those that it said
        self.empty = 0
        self._met: dict[Class, int] = {}
        self._random = np.random.default_rng(seed)

    def add(self, row: Row, places: Mapping[str, Place | None]) -> tuple[Look, Mask]:
        """Look at a row, with the regions of its picture; the look, and which pixels the model saw."""
        heat = row.heat
        self.names[row["predicted"]] = row["predicted_name"]
        seen, shares = ~np.isnan(heat), as_shares(heat)
        look = Look(
            picture=row["picture"],
            place=row["place"],
            content=row["content"],
            labels=tuple(row["labels"] or ()),
            about=dict(row["about"] or {}),
            index=row["index"],
            target=row["target"],
            predicted=row["predicted_name"],
            correct=row["correct"],
            right=_right(row),
            probability=row["probability"],
            shares={name: share(shares, seen, place) for name, place in places.items()},
            misplaced=misplaced(shares, seen, places, self.regions),
        )
        if shares is None:
            self.empty += 1
        else:
            place = places.get(OBJECT)
            aligned = None if place is None or place.box is None else in_frame(shares, around(place.box))
            self._count(look, whole(shares), aligned)
        self.looks.append(look)
        return look, seen

    def _count(self, look: Look, average: Cells, aligned: Cells | None) -> None:
        names = [ALL] if look.right is None else [ALL, RIGHT if look.right else WRONG]
        names += [] if self.by is None else [titled(self.by, told(look, self.by))]
        for key in (None, class_of(look)):
            self.averages.add([(key, name) for name in names], average, aligned)
        kept = self.kept.setdefault(class_of(look), [])
        met = self._met[class_of(look)] = self._met.get(class_of(look), 0) + 1
        found = Kept(len(self.looks), average, aligned)
        if len(kept) < MOST:
            kept.append(found)
        elif (place := int(self._random.integers(met))) < MOST:
            kept[place] = found


def class_of(about: Look | Example) -> Class:
    """The class that a look or an example is about; what is against it is another."""
    return about.index, about.target


def _right(row: Row) -> bool | None:
    """Whether the class is among as many of the model's best as the picture has labels; unasked, whether any is."""
    if row["asked"] == LABEL and row["rank"] is not None:
        return bool(row["rank"] < len(set(row["labels"] or ())))
    return None if row["correct"] is None else bool(row["correct"])
