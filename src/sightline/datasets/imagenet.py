"""ImageNet's official boxes: Annotations/**/ILSVRC2012_val_*.xml, and pictures in val/, flat or in class folders.

Russakovsky et al., *ImageNet Large Scale Visual Recognition Challenge*, IJCV 2015; the classes are wnids. Boxes
count pixels from 0, the last included: their least corner is 0, their greatest the size less 1.

The size in an XML isn't always that of the picture, which may have been resized since; boxes were drawn on what the
XML says, so they are scaled by picture / XML, each way by itself. A picture that is turned against its XML is
refused: nobody can say which of them is right. An XML without a size is taken to mean the picture's.
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sightline.datasets.boxes import Ends
from sightline.datasets.listed import Listed, by_stem, pictures_below, shown, title
from sightline.datasets.pascal import annotations_below, read_pascal
from sightline.errors import DataError
from sightline.images import read_picture
from sightline.trials import Known, Sample

_NAMED = re.compile(r"ILSVRC|n\d{8}")


@dataclass(frozen=True)
class Files:
    """What belongs to a picture."""

    picture: Path
    annotation: Path


def is_imagenet(path: Path) -> bool:
    """Whether the first annotation that comes is named as ImageNet's are, and nothing is VOC's."""
    first = next(annotations_below(path / "Annotations"), None)
    return first is not None and _NAMED.match(first.name) is not None and not (path / "JPEGImages").is_dir()


def imagenet(path: Path, *, split: str | None = None, ends: Ends = Ends.FROM_ZERO) -> Listed[Files]:
    """The pictures of a split, by default val. Raises DataError where there are no annotations or no pictures."""
    problems: list[str] = []
    part, inside = split or "val", path / "Annotations"
    folder = _first((inside / "CLS-LOC" / part, inside / part, inside))
    home = _first((path / "Data" / "CLS-LOC" / part, path / part, path / "images" / part, path / "images"))
    annotated = by_stem(annotations_below(folder), problems)
    pictures = by_stem(pictures_below(home, problems), problems)
    entries = {}
    for stem in sorted(annotated.keys() | pictures):
        if stem not in annotated:
            problems.append(f"{shown(pictures[stem])} has no annotation in {shown(folder)}")
        elif stem not in pictures:
            problems.append(f"{shown(annotated[stem])} has no picture in {shown(home)}")
        else:
            entries[stem] = Files(pictures[stem], annotated[stem])
    read = partial(_sample, ends=Ends(ends))
    return Listed(title(path, split), frozenset({Known.BOXES}), entries, read, tuple(problems))


def _sample(name: str, files: Files, *, ends: Ends) -> Sample:
    picture = read_picture(files.picture)
    annotation = read_pascal(files.annotation)
    width, height = annotation.size or picture.size
    if (height, width) == picture.size != (width, height):
        raise DataError(
            f"{annotation.file} is of {width} x {height} pixels, and {shown(files.picture)} has {height} x {width}; "
            "turn the one that is wrong"
        )
    scale = picture.width / width, picture.height / height
    return Sample(name, picture, annotation.truths(ends, picture.size, scale))


def _first(folders: tuple[Path, ...]) -> Path:
    for folder in folders:
        if folder.is_dir():
            return folder
    raise DataError(f"no folder {', '.join(map(shown, folders))}; expected one of them, as ImageNet has")
