"""One picture's annotation as PASCAL VOC writes it, in XML, which ILSVRC and labelling tools took over.

A document type, the door to entities that grow without end, is refused.
"""

import reprlib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from sightline.datasets.boxes import Ends, box, by_label, number
from sightline.datasets.listed import shown
from sightline.errors import DataError
from sightline.trials import Truth


@dataclass(frozen=True)
class Thing:
    """An object: its class, the four corners as they are written, and whether it is marked difficult."""

    label: str
    corners: tuple[str | None, ...]
    difficult: bool


@dataclass(frozen=True)
class Annotation:
    """The picture's size (width, height), if it is told, and the objects in it."""

    file: str
    size: tuple[int, int] | None
    things: tuple[Thing, ...]

    def truths(self, ends: Ends, size: tuple[int, int], scale: tuple[float, float] = (1.0, 1.0)) -> tuple[Truth, ...]:
        """A truth a class, in a picture of `size`. Raises DataError for a box that isn't in it."""
        return by_label(
            (thing.label, box(thing.corners, ends, size, f"{self.file}, {thing.label}", scale), thing.difficult)
            for thing in self.things
        )


def annotations_below(folder: Path) -> Iterator[Path]:
    """All XML files in a folder and below, but for hidden ones."""
    return (path for path in folder.rglob("*.xml") if not path.name.startswith("."))


def read_pascal(path: Path) -> Annotation:
    """The annotation in a file. Raises DataError, in one line, for one that can't be read."""
    file = shown(path)
    try:
        root = ET.fromstring(path.read_bytes(), parser=ET.XMLParser(target=_NoDoctype()))
    except (OSError, ET.ParseError, ValueError, LookupError) as error:  # LookupError: an encoding unheard of
        raise DataError(f"{file} can't be read ({error}); expected an annotation in XML, as PASCAL VOC has") from error
    if root.tag != "annotation":
        raise DataError(f"{file} holds <{reprlib.repr(root.tag)[1:-1]}>; expected <annotation>, as PASCAL VOC has")
    return Annotation(file, _size(root, file), tuple(_thing(each, file) for each in root.findall("object")))


class _NoDoctype(ET.TreeBuilder):
    def doctype(self, *_: object) -> NoReturn:
        """Called before anything in the document type is read."""
        raise ValueError("it has a document type, which annotations don't need")


def _size(root: ET.Element, file: str) -> tuple[int, int] | None:
    """None where it isn't told, or is 0 x 0, as some tools write for not known."""
    told = [root.findtext(f"size/{name}") for name in ("width", "height")]
    if told == [None, None]:
        return None
    width, height = (number(each, f"{file}, size") for each in told)
    if width == height == 0:
        return None
    if not (width > 0 and height > 0 and width.is_integer() and height.is_integer()):
        raise DataError(f"{file} says that its picture has {width:g} x {height:g} pixels; correct it")
    return int(width), int(height)


def _thing(found: ET.Element, file: str) -> Thing:
    label = (found.findtext("name") or "").strip()
    if not label:
        raise DataError(f"{file} has an object without a name; expected <name> in each <object>")
    corners = tuple(found.findtext(f"bndbox/{name}") for name in ("xmin", "ymin", "xmax", "ymax"))
    difficult = (found.findtext("difficult") or "0").strip()
    if difficult not in ("0", "1"):
        raise DataError(f"{file}, {label}: difficult is {reprlib.repr(difficult)}; expected 0 or 1")
    return Thing(label, corners, difficult == "1")
