"""Places: the named regions of a picture, in its own pixels, as data sets mark them.

`object` is where the target of a row is; of a target that isn't in the picture, as of a wrong prediction, all that is
marked there: that is where the model should have looked. Every other region is all that its data set marks in the
picture of the same name, whatever its classes are called.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from sightline.audit.found import Region
from sightline.datasets import open_data
from sightline.errors import DataError, PictureError
from sightline.geometry import Box
from sightline.regions import Mask, extent
from sightline.runs.columns import arrow
from sightline.runs.kept import Row, Run
from sightline.trials import DataSet, Known, Sample, Truth

OBJECT = "object"

Opened = DataSet | Mapping[str, Mask]

Marks = Opened | str | Path
"""Where a region is: a data set with boxes or masks, what `open_data` opens as one, or masks (height, width) by the
pictures' names."""


@dataclass(frozen=True)
class Place:
    """A region of one picture: its pixels (height, width), which may be none, and those that count neither way.

    `box` is around the object, of several instances around the largest.
    """

    mask: Mask = field(repr=False)
    ignore: Mask | None = field(default=None, repr=False)
    box: Box | None = None


class Places:
    """The regions of a run's pictures; each data set reads a picture once, however many rows are about it.

    Raises DataError for a name given twice, and for a data set that says nothing of where things are.
    """

    def __init__(self, run: Run, regions: Mapping[str, Marks], suspects: Mapping[str, Marks]) -> None:
        if twice := regions.keys() & suspects.keys():
            raise DataError(f"{min(twice)} is a region and a suspect one; name them differently, or leave one out")
        self.problems: Counter[str] = Counter()
        self.run = run
        self.marks: dict[str, Opened] = {}
        if OBJECT not in regions and OBJECT not in suspects and (own := self._own()) is not None:
            self.marks[OBJECT] = own
        for name, given in (dict(regions) | dict(suspects)).items():
            self.marks[name] = open_data(given) if isinstance(given, str | Path) else given
        self.regions = tuple(Region(name, name in suspects) for name in self.marks)
        for name, marks in self.marks.items():
            if not isinstance(marks, Mapping) and not _shows(marks):
                raise DataError(f"{name}: {marks.name} says nothing of where things are; expected boxes or masks")
        self._listed: dict[int, dict[str, int]] = {}  # by data set, its pictures' places
        self._meant = _meant(run)
        self._read: dict[int, tuple[str, Sample | None]] = {}  # by data set, the picture read last
        self._met: Counter[str] = Counter()

    def of(self, row: Row) -> dict[str, Place | None]:
        """The regions of a row's picture; None for one that isn't known there."""
        return {name: self._place(name, row) for name in self.marks}

    def picture(self, row: Row) -> Sample | None:
        """The row's picture, as the run's data set has it; None where it can't be read."""
        return self._sample(self.run.data, row["picture"])

    def lines(self) -> list[str]:
        """What was wrong, a line each, those met often with how often."""
        unmet = [
            f"no picture of {self.run.question['data']} is in {_named(marks)}, which should say where {name} is"
            for name, marks in self.marks.items()
            if not self._met[name]
        ]
        return unmet + [line if count == 1 else f"{line} ({count} pictures)" for line, count in self.problems.items()]

    def _own(self) -> DataSet | None:
        try:
            data = self.run.data
        except (DataError, PictureError) as error:
            self.problems[f"where the objects are isn't known: {error}"] += 1
            return None
        return data if _shows(data) else None

    def _place(self, name: str, row: Row) -> Place | None:
        marks, (width, height) = self.marks[name], row.size
        if isinstance(marks, Mapping):
            if row["picture"] not in marks:
                return None
            place = Place(np.asarray(marks[row["picture"]], dtype=bool))
        else:
            sample = self._sample(marks, row["picture"])
            if sample is None:
                return None
            truths: Sequence[Truth] = self._objects(sample, row) if name == OBJECT else sample.truths
            if name == OBJECT and not truths:
                return None
            place = _union(truths, sample.picture.size)
        self._met[name] += 1
        if place.mask.shape != (height, width):
            shape = " x ".join(map(str, place.mask.shape[::-1]))
            self.problems[f"{name}: {row['picture']} is marked on {shape} pixels, it has {width} x {height}"] += 1
            return None
        return place

    def _objects(self, sample: Sample, row: Row) -> Sequence[Truth]:
        """The truth of the row's target; of a target that isn't there, all truths, where it should have looked."""
        own = [truth for truth in sample.truths if (_spoken(truth.label), row["index"]) in self._meant]
        return own or sample.truths

    def _sample(self, data: DataSet, name: str) -> Sample | None:
        if id(data) not in self._listed:
            self._listed[id(data)] = _by_name(data)
        place = self._listed[id(data)].get(name, self._listed[id(data)].get(_bare(name)))
        if self._read.get(id(data), ("", None))[0] != name:
            sample = None
            if place is not None:
                try:
                    sample = data[place]
                except (DataError, PictureError) as error:
                    self.problems[str(error)] += 1
            self._read[id(data)] = (name, sample)
        return self._read[id(data)][1]


def _by_name(data: DataSet) -> dict[str, int]:
    """A data set's pictures' places by their names, and by these without an ending where no two share one."""
    exact = {name: place for place, name in enumerate(data.names)}
    shared = Counter(map(_bare, exact))
    return {_bare(name): place for name, place in exact.items() if shared[_bare(name)] == 1} | exact


def _bare(name: str) -> str:
    """A picture's name without its ending; a number behind a dot is none."""
    ending = PurePosixPath(name).suffix
    return name.removesuffix(ending) if ending[1:2].isalpha() else name


def _shows(data: DataSet) -> bool:
    return bool(data.knows & {Known.BOXES, Known.MASKS, Known.PARTS})


def _named(marks: Opened) -> str:
    return "the masks" if isinstance(marks, Mapping) else marks.name


def _meant(run: Run) -> set[tuple[str, int]]:
    """Which of the data set's labels mean which of the model's classes, as far as the rows tell.

    A row that was asked for by a label tells; a picture with one label that was predicted right; and a class of that
    name.
    """
    arrow()
    from pyarrow import compute

    told = run.table(["label", "labels", "index", "target", "predicted", "correct"])
    joined = compute.binary_join(told["labels"], "\0")
    told = told.set_column(told.schema.get_field_index("labels"), "labels", joined)
    found: set[tuple[str, int]] = set()
    spoken: dict[str, int] = {}
    every: set[str] = set()
    for row in told.group_by(told.column_names).aggregate([]).to_pylist():  # each that differs once
        if row["index"] is None:
            continue
        spoken[_spoken(row["target"])] = row["index"]
        labels = set((row["labels"] or "").split("\0")) - {""}
        every |= labels
        if row["label"] is not None:
            found.add((_spoken(row["label"]), row["index"]))
        if len(labels) == 1 and row["correct"]:
            found.add((_spoken(*labels), row["predicted"]))
    return found | {(_spoken(label), spoken[_spoken(label)]) for label in every if _spoken(label) in spoken}


def _spoken(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


def _union(truths: Sequence[Truth], size: tuple[int, int]) -> Place:
    """All truths of a picture of `size` (width, height) as one region; what any says to ignore, and none marks, is."""
    mask = np.zeros(size[::-1], dtype=bool)
    ignore = np.zeros(size[::-1], dtype=bool)
    for truth in truths:
        mask |= truth.region(size)
        if truth.ignore is not None:
            ignore |= truth.ignore
    boxes = [box for truth in truths for box in truth.boxes]
    around = max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]), default=extent(mask))
    return Place(mask, ignore & ~mask if ignore.any() else None, around)
