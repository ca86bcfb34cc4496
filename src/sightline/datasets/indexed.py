"""PNG masks whose pixels are numbers of classes: 0 is background, 255 counts neither way."""

import json
import reprlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngImageFile

from sightline.datasets.listed import is_text, shown
from sightline.errors import DataError, first_line
from sightline.regions import Mask

Indices = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int32]

IGNORED = 255
_BACKGROUND = {"background", "_background_", "__background__"}


def read_indices(path: Path, size: tuple[int, int]) -> Indices:
    """The numbers (height, width) in a PNG: palette indices, grey values, or colours that are all grey.

    Raises DataError for what is no PNG, isn't of `size` (width, height), which is known before anything
    is decoded, or has colours.
    """
    file = shown(path)
    try:
        with path.open("rb") as opened:
            image = PngImageFile(opened)
            if image.size != size:
                raise DataError(
                    f"{file} has {image.width} x {image.height} pixels and its picture {size[0]} x {size[1]}; "
                    "expected a mask of the picture's size"
                )
            image.load()
    except DataError:
        raise
    except Exception as error:  # there is no end of what a plugin raises on a broken file
        raise DataError(f"{file} can't be read ({first_line(error)}); expected a PNG mask") from error
    values = np.asarray(image.convert("L") if image.mode == "1" else image)
    if values.ndim == 2:
        return values
    colours = values[..., : 3 if values.shape[2] >= 3 else 1]
    if (colours != colours[..., :1]).any():
        raise DataError(f"{file} has colours and no palette; expected palette or grey PNG, numbers of classes")
    return colours[..., 0]


def masks_of(indices: Indices, names: tuple[str, ...], path: Path) -> tuple[dict[str, Mask], Mask | None]:
    """Each class that is there with its pixels, in the order of `names` (index 1 on), and the pixels ignored, if any.

    Raises DataError for an index without a name.
    """
    present = np.flatnonzero(np.bincount(indices.ravel())).tolist()
    for index in present:
        if index > len(names) and index != IGNORED:
            raise DataError(
                f"{shown(path)} has index {index}, and {len(names)} classes have names; "
                "name them all in classes.txt, in the order of their indices"
            )
    found = {names[index - 1]: indices == index for index in present if index not in (0, IGNORED)}
    return found, indices == IGNORED if IGNORED in present else None


def class_names(folder: Path) -> tuple[str, ...] | None:
    """The names of indices 1, 2, ...: a list in classes.json, or the lines of classes.txt; None where neither is.

    A first name that says background is that of index 0. Raises DataError.
    """
    for file in (folder / "classes.json", folder / "classes.txt"):
        if file.is_file():
            names = _read_names(file)
            return names[1:] if names[0].casefold() in _BACKGROUND else names
    return None


def _read_names(file: Path) -> tuple[str, ...]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        names = json.loads(text) if file.suffix == ".json" else [each.strip() for each in text.strip().splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{shown(file)} can't be read ({first_line(error)}); expected names of classes") from error
    texts = isinstance(names, list) and all(isinstance(name, str) and name and is_text(name) for name in names)
    if not texts or not names or len(set(names)) < len(names) or len(names) >= IGNORED:
        raise DataError(f"{shown(file)} holds {reprlib.repr(names)}; expected a list of 1 to 254 names, all different")
    return tuple(names)
