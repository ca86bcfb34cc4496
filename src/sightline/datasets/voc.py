"""PASCAL VOC: Annotations/*.xml beside JPEGImages/, splits in ImageSets/, masks in SegmentationClass/.

Everingham et al., *The PASCAL VOC Challenge*, IJCV 2010; protocols.md section 2. Boxes count pixels from 1, the
last included. As in TorchRay's pointing game a class's boxes include difficult ones, and it is difficult only
where all are. Index 255 of a mask, borders and crowds, is ignored for every class.

In VOC itself few pictures have masks. So masks are read where most of those listed have one, as those of the
Segmentation splits do, and `knows` says so; a picture that lacks its mask there can't be read, one whose mask
and XML differ in their classes neither. Else no mask is read at all, so that every picture is judged alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from sightline.datasets.boxes import Ends
from sightline.datasets.indexed import class_names, masks_of, read_indices
from sightline.datasets.listed import Listed, by_stem, pictures_below, shown, title
from sightline.datasets.pascal import annotations_below, read_pascal
from sightline.errors import DataError
from sightline.images import read_picture
from sightline.trials import Known, Sample, Truth

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""Of the indices 1 to 20, where no classes.json or classes.txt in the folder names others."""


@dataclass(frozen=True)
class Files:
    """What belongs to a picture; `mask` is where it should be, whether there or not."""

    picture: Path
    annotation: Path
    mask: Path


def is_voc(path: Path) -> bool:
    return (path / "Annotations").is_dir() and (path / "JPEGImages").is_dir()


def voc(
    path: Path, *, split: str | None = None, ends: Ends = Ends.FROM_ONE, masks: bool | None = None
) -> Listed[Files]:
    """The pictures of a split, or all that are there.

    A split is a file in ImageSets, by its name (`val`: of ImageSets itself, Main, Segmentation the first that has
    it) or its path there (`Segmentation/val`). `masks` reads them, or not, however many there are.

    Raises DataError where there is no picture, or no such split.
    """
    problems: list[str] = []
    ends = Ends(ends)
    if masks not in (None, True, False):
        raise DataError(f"masks is {masks!r}; expected True, False, or None for where most pictures have one")
    home, folder = path / "JPEGImages", path / "Annotations"
    pictures = by_stem(pictures_below(home, problems), problems, below=home)
    annotated = by_stem(annotations_below(folder), problems, below=folder)
    wanted = sorted({*pictures, *annotated}) if split is None else _listed(path / "ImageSets", split, problems)
    entries = {}
    for stem in wanted:
        annotation = folder / f"{stem}.xml"
        if stem not in annotated:
            problems.append(f"{shown(annotation)} is missing; nothing says what is in that picture")
        elif stem not in pictures:
            problems.append(f"{shown(annotation)} has no picture in {shown(home)}")
        else:
            entries[stem] = Files(pictures[stem], annotation, path / "SegmentationClass" / f"{stem}.png")
    if masks is None:
        masks = sum(each.mask.is_file() for each in entries.values()) > len(entries) / 2
    names = (class_names(path) or VOC_CLASSES) if masks else None
    return Listed(
        title(path, split),
        frozenset({Known.BOXES, Known.MASKS} if masks else {Known.BOXES}),
        entries,
        partial(_sample, ends=ends, names=names),
        tuple(problems),
    )


def _sample(name: str, files: Files, *, ends: Ends, names: tuple[str, ...] | None) -> Sample:
    picture = read_picture(files.picture)
    annotation = read_pascal(files.annotation)
    if annotation.size not in (None, picture.size):
        width, height = annotation.size or (0, 0)
        raise DataError(
            f"{annotation.file} is of {width} x {height} pixels, and {shown(files.picture)} has "
            f"{picture.width} x {picture.height}; expected the picture that was annotated, not resized or turned"
        )
    truths = annotation.truths(ends, picture.size)
    return Sample(name, picture, truths if names is None else _masked(truths, files, picture.size, names))


def _masked(truths: Sequence[Truth], files: Files, size: tuple[int, int], names: tuple[str, ...]) -> tuple[Truth, ...]:
    """The truths with their pixels; a class hidden behind others has none."""
    if not files.mask.is_file():
        raise DataError(f"{shown(files.mask)} is missing; most pictures of this data set have masks")
    found, ignore = masks_of(read_indices(files.mask, size), names, files.mask)
    labels = {truth.label for truth in truths}
    if unnamed := labels.difference(names):
        raise DataError(f"{shown(files.annotation)}: no index of the masks is named {min(unnamed)!r}; see classes.txt")
    if unboxed := found.keys() - labels:
        raise DataError(f"{shown(files.mask)} shows {min(unboxed)}, of which {files.annotation.name} has no object")
    nothing = np.zeros(size[::-1], dtype=bool)
    return tuple(replace(truth, mask=found.get(truth.label, nothing), ignore=ignore) for truth in truths)


def _listed(folder: Path, split: str, problems: list[str]) -> list[str]:
    """The pictures that a split lists; of a class's own split those that show it, difficult ones too."""
    for file in (folder / f"{split}.txt", folder / "Main" / f"{split}.txt", folder / "Segmentation" / f"{split}.txt"):
        if file.is_file():
            break
    else:
        there = sorted(each.relative_to(folder).with_suffix("").as_posix() for each in folder.rglob("*.txt"))
        raise DataError(f"{shown(folder)} has no split {split!r}; there are: {', '.join(there) or 'none'}")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"{shown(file)} can't be read ({error}); expected a picture's name a line") from error
    stems: dict[str, None] = {}
    for place, line in enumerate(lines, 1):
        stem, _, mark = line.strip().rpartition(" ")
        if mark not in ("-1", "0", "1") or not stem:
            stem, mark = line.strip(), "1"
        stem = stem.strip()
        if stem in stems:
            problems.append(f"{shown(file)}, line {place}: {stem} is listed twice")
        elif stem and mark != "-1":
            stems[stem] = None
    return list(stems)
