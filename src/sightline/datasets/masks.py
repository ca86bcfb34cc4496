"""Masks beside pictures: images/ and masks/, files of the same names, PNG masks.

Where classes.txt or classes.json names classes, index i of a mask is name i, and 255 counts neither way. Else a mask
is of one class, `masks/cat/7.png` of `images/7.jpg` or `images/cat/7.jpg` of cat, `masks/7.png` of `object`; its
pixels are 0 and 255, or 0, 1 and 255 to be ignored.

Boxes are those around each part of a class's pixels that hangs together, over edges or corners: objects that touch
share one, an object in pieces has several.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from sightline.datasets.indexed import IGNORED, class_names, masks_of, read_indices
from sightline.datasets.listed import Listed, by_stem, pictures_below, shown, title
from sightline.errors import DataError
from sightline.geometry import Box
from sightline.images import read_picture
from sightline.regions import Mask
from sightline.trials import Known, Sample, Truth

ONLY = "object"
"""The class, where nothing names one."""


@dataclass(frozen=True)
class Files:
    """What belongs to a picture: its masks, each with the names of its indices 1, 2, ..."""

    picture: Path
    masks: Sequence[tuple[tuple[str, ...], Path]]


def is_masks(path: Path) -> bool:
    return (path / "images").is_dir() and (path / "masks").is_dir()


def masks(path: Path, *, split: str | None = None) -> Listed[Files]:
    """The pictures that have masks, of the folder, or of the folder of a split in it.

    Raises DataError where there are none, or the names of classes can't be read.
    """
    problems: list[str] = []
    home = path if split is None else path / split
    names = class_names(home) or class_names(path)
    pictures = by_stem(pictures_below(home / "images", problems), problems, below=home / "images")
    drawn = by_stem(pictures_below(home / "masks", problems), problems, below=home / "masks")
    found: dict[str, list[tuple[tuple[str, ...], Path]]] = {stem: [] for stem in pictures}
    for stem, mask in drawn.items():
        folder, _, below = stem.partition("/") if "/" in stem else (ONLY, "", stem)
        of = stem if stem in pictures or names else below
        if of in pictures:
            found[of].append((names or (folder,), mask))
        else:
            problems.append(f"{shown(mask)} is of no picture in {shown(home / 'images')}")
    problems += [f"{shown(pictures[stem])} has no mask in {shown(home / 'masks')}" for stem in found if not found[stem]]
    entries = {stem: Files(pictures[stem], each) for stem, each in found.items() if each}
    return Listed(title(path, split), frozenset({Known.BOXES, Known.MASKS}), entries, _sample, tuple(problems))


def _sample(name: str, files: Files) -> Sample:
    picture = read_picture(files.picture)
    truths = [truth for names, mask in files.masks for truth in _truths(mask, names, picture.size)]
    return Sample(name, picture, tuple(truths))


def _truths(file: Path, names: tuple[str, ...], size: tuple[int, int]) -> list[Truth]:
    indices = read_indices(file, size)
    if (indices == IGNORED).any() and ((indices == 0) | (indices == IGNORED)).all():
        if len(names) > 1:
            raise DataError(
                f"{shown(file)} has only 0 and 255; expected indices of {len(names)} classes, as classes.txt"
            )
        indices = (indices == IGNORED).astype(np.uint8)
    found, ignore = masks_of(indices, names, file)
    return [Truth(label, _boxes(mask), mask, ignore) for label, mask in found.items()]


def _boxes(mask: Mask) -> tuple[Box, ...]:
    """Those around the parts of a mask that hang together, 8 neighbours, in reading order of their first pixels."""
    parts, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    return tuple(
        (float(across.start), float(down.start), float(across.stop), float(down.stop))
        for down, across in ndimage.find_objects(parts)
    )
