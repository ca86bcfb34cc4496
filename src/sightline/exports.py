"""Boxes, masks and seeds in the formats of others: COCO results, VOC XML, palette PNG; and lists of JSON, streamed.

Boxes here are (x0, y0, x1, y1) in pixels from 0, ends exclusive. COCO has [x, y, width, height] from 0, VOC the first
and the last pixel from 1. A mask is COCO's run lengths, down the columns, the first run outside the mask.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightline.errors import DataError
from sightline.regions import Mask, PixelBox, extent

UNKNOWN = 255  # a palette PNG's border, or what isn't to be judged


@dataclass(frozen=True)
class Found:
    """What a map marks of one class in one picture: all of it, and of that the component that is boxed, if any."""

    label: str
    score: float
    mask: Mask = field(repr=False)
    component: Mask = field(repr=False)

    @property
    def box(self) -> PixelBox | None:
        return extent(self.component)


def runs(mask: Mask) -> list[int]:
    """COCO's run lengths of a mask (height, width): pixels out, in, out, ..., down one column after the other."""
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    turns = np.flatnonzero(np.diff(flat, prepend=False))
    return [end - start for start, end in pairwise([0, *turns.tolist(), flat.size])]


def compressed(counts: Sequence[int]) -> str:
    """Run lengths as COCO writes them in little room.

    From the fourth on each is less its last but one; then come groups of five bits, the lowest first, with a sixth
    where more follow, as letters from `0`.
    """
    letters = []
    for place, count in enumerate(counts):
        left = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            group, left = left & 31, left >> 5
            more = left != (-1 if group & 16 else 0)
            letters.append(chr(48 + group + 32 * more))
    return "".join(letters)


def coco(found: Sequence[Found], image_id: int, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """The rows of a COCO results file for what was found in one picture; none for a class without a box.

    COCO's rows are of one thing each, so the segmentation is of what is boxed.
    """
    rows = []
    for one, category in zip(found, category_ids, strict=True):
        if one.box is not None:
            x0, y0, x1, y1 = one.box
            mask = {"size": list(one.component.shape), "counts": compressed(runs(one.component))}
            row = {"image_id": image_id, "category_id": category, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            rows.append(row | {"score": one.score, "segmentation": mask})
    return rows


def voc(found: Sequence[Found], file_name: str, size: tuple[int, int]) -> bytes:
    """The VOC annotation, an XML file, of a picture of `size` (width, height)."""
    root = ElementTree.Element("annotation")
    _child(root, "filename", file_name)
    _children(_child(root, "size"), {"width": size[0], "height": size[1], "depth": 3})
    _child(root, "segmented", 0)
    for one in found:
        if one.box is not None:
            x0, y0, x1, y1 = one.box
            thing = _child(root, "object")
            _children(thing, {"name": one.label, "pose": "Unspecified", "truncated": 0, "difficult": 0})
            _children(_child(thing, "bndbox"), {"xmin": x0 + 1, "ymin": y0 + 1, "xmax": x1, "ymax": y1})
    ElementTree.indent(root, "\t")
    text: bytes = ElementTree.tostring(root, encoding="utf-8")
    return text + b"\n"


def palette_png(index: NDArray[np.integer]) -> Image.Image:
    """An index map (height, width), 0 the background, 255 unknown, as a picture in VOC's colours.

    Raises DataError for an index that doesn't fit in a byte.
    """
    if index.size and not (index.min() >= 0 and index.max() <= UNKNOWN):
        raise DataError(
            f"a palette PNG has the indices 0 to {UNKNOWN}, got {index.min()} to {index.max()}; "
            "ask about fewer classes, or write another format"
        )
    image = Image.fromarray(index.astype(np.uint8))
    image.putpalette(voc_colours().tobytes())
    return image


def voc_colours() -> NDArray[np.uint8]:
    """VOC's 256 colours (256, 3): an index's bits go to red, green and blue in turn, to their highest bits first."""
    index = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.uint8)
    for level in range(8):
        for channel in range(3):
            colours[:, channel] |= (((index >> (3 * level + channel)) & 1) << (7 - level)).astype(np.uint8)
    return colours


@contextmanager
def listed(file: Path) -> Iterator[Callable[[Any], None]]:
    """Gives what adds a value to a JSON list in a file, a line each; the file is there when all were added.

    What was added before an error stays, without the list's end, in the same name with `.part`.
    """
    part = file.with_name(f"{file.name}.part")
    added = 0
    with part.open("w", encoding="utf-8") as opened:

        def add(value: Any) -> None:
            nonlocal added
            opened.write((",\n" if added else "[\n") + json.dumps(value))
            added += 1

        try:
            yield add
        except BaseException:
            if not added:
                part.unlink()
            raise
        opened.write("\n]\n" if added else "[]\n")
    part.replace(file)


def _child(parent: ElementTree.Element, name: str, value: object = "") -> ElementTree.Element:
    child = ElementTree.SubElement(parent, name)
    child.text = "".join(letter if letter.isprintable() else "?" for letter in str(value))  # XML has no others
    return child


def _children(parent: ElementTree.Element, values: dict[str, object]) -> None:
    for name, value in values.items():
        _child(parent, name, value)
