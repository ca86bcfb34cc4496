"""COCO: annotations/instances_*.json, and pictures in a folder of the split's name or in images/.

Lin et al., *Microsoft COCO*, arXiv 1405.0312. Boxes are x, y, width, height between pixels' edges. A class's mask
is the union of its instances' segmentations, polygons as pycocotools fills them. Regions marked `iscrowd` count
neither way: their pixels are ignored for their class, but for those of instances. A class of which there are only
crowds is difficult: its boxes are theirs, and its mask is empty.

Where most annotations lack a segmentation, as in files made for detection, only the boxes are known.
"""

import importlib
import json
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sightline.datasets.boxes import Ends, box, by_label, number
from sightline.datasets.listed import Listed, is_text, is_there, shown, title
from sightline.datasets.run_lengths import from_runs
from sightline.errors import DataError, first_line
from sightline.geometry import Box
from sightline.images import read_picture
from sightline.regions import Mask
from sightline.trials import Known, Sample, Truth

Said = Mapping[str, Any]  # what JSON calls an object


@dataclass(frozen=True)
class Picture:
    """A picture's file, what the annotation file says of it, and of each object in it."""

    file: Path
    said: Said
    objects: Sequence[Said]


@dataclass(frozen=True)
class Thing:
    """An object; `mask` where the data set has masks."""

    label: str
    box: Box
    crowd: bool
    mask: Mask | None


def is_coco(path: Path) -> bool:
    return any(path.glob("annotations/instances_*.json")) or (path.suffix.lower() == ".json" and path.is_file())


def coco(path: Path, *, split: str | None = None) -> Listed[Picture]:
    """The pictures of a split, or of the only one that there is, or of an annotation file.

    Raises DataError where there is no such file, it can't be read, none of its pictures is found, or it has
    polygons and pycocotools isn't installed.
    """
    table = _table(path, split)
    where = shown(table)
    problems: list[str] = []
    content = _read(table)
    categories = _by_id(content["categories"], "name", f"{where}, category", problems)
    images = _by_id(content["images"], "file_name", f"{where}, image", problems)
    objects: dict[object, list[Said]] = {key: [] for key in images}
    for found in content["annotations"]:
        of = found.get("image_id") if isinstance(found, dict) else None
        if isinstance(of, int | str) and of in objects:
            objects[of].append(found)
        else:
            problems.append(f"{where}: annotation {reprlib.repr(found)} is of no image in it")
    outlines = [each.get("segmentation") for found in objects.values() for each in found]
    masks = sum(map(bool, outlines)) > len(outlines) / 2
    if masks and any(isinstance(each, list) for each in outlines):
        _pycocotools()
    home = _home(table, [str(said["file_name"]) for said in images.values()])
    entries: dict[str, Picture] = {}
    for key, said in images.items():
        file = home / said["file_name"]
        if not is_there(file):
            problems.append(f"{shown(file)} is missing; {where} has {len(objects[key])} objects in it")
        elif said["file_name"] in entries:
            problems.append(f"{where}: image {key} is {shown(file)}, as another is; only the first is read")
        else:
            entries[said["file_name"]] = Picture(file, said, objects[key])
    labels = {key: str(said["name"]) for key, said in categories.items()}
    return Listed(
        title(path, split),
        frozenset({Known.BOXES, Known.MASKS} if masks else {Known.BOXES}),
        entries,
        partial(_sample, where=where, labels=labels, masks=masks),
        tuple(problems),
    )


def _sample(name: str, entry: Picture, *, where: str, labels: Mapping[object, str], masks: bool) -> Sample:
    picture = read_picture(entry.file)
    width, height = (number(entry.said.get(side), f"{where}, image {name}, {side}") for side in ("width", "height"))
    if picture.size != (width, height):
        raise DataError(
            f"{where} says that {name} has {width:g} x {height:g} pixels, and {shown(entry.file)} has "
            f"{picture.width} x {picture.height}; expected the picture that was annotated, not resized or turned"
        )
    things = [_thing(said, where, labels, picture.size, masks=masks) for said in entry.objects]
    alone = {thing.label for thing in things if not thing.crowd}
    truths = by_label(
        (each.label, each.box, each.crowd) for each in things if not each.crowd or each.label not in alone
    )
    return Sample(name, picture, tuple(_masked(truth, things, picture.size) for truth in truths) if masks else truths)


def _masked(truth: Truth, things: Sequence[Thing], size: tuple[int, int]) -> Truth:
    mask, crowd = np.zeros(size[::-1], dtype=bool), np.zeros(size[::-1], dtype=bool)
    for thing in things:
        if thing.label == truth.label and thing.mask is not None:
            (crowd if thing.crowd else mask)[thing.mask] = True
    ignore = crowd & ~mask
    return replace(truth, mask=mask, ignore=ignore if ignore.any() else None)


def _thing(said: Said, where: str, labels: Mapping[object, str], size: tuple[int, int], *, masks: bool) -> Thing:
    where = f"{where}, annotation {reprlib.repr(said.get('id'))}"
    key = said.get("category_id")
    if not isinstance(key, int | str) or key not in labels:
        raise DataError(f"{where} has category {reprlib.repr(key)}; expected one of the {len(labels)} in the file")
    corners = said.get("bbox")
    if not isinstance(corners, list) or len(corners) != 4:
        raise DataError(f"{where} has bbox {reprlib.repr(corners)}; expected x, y, width, height")
    x, y, across, down = (number(each, where) for each in corners)
    crowd = said.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise DataError(f"{where} has iscrowd {reprlib.repr(crowd)}; expected 0 or 1")
    mask = _outlined(said.get("segmentation"), size, where) if masks else None
    return Thing(labels[key], box((x, y, x + across, y + down), Ends.EDGES, size, where), bool(crowd), mask)


def _outlined(outline: object, size: tuple[int, int], where: str) -> Mask:
    """A segmentation, polygons or run lengths -> a mask (height, width)."""
    width, height = size
    if isinstance(outline, dict):
        if outline.get("size") != [height, width]:
            raise DataError(f"{where} has a mask of {reprlib.repr(outline.get('size'))}; expected [{height}, {width}]")
        return from_runs(outline.get("counts"), size, where)
    if not isinstance(outline, list) or not outline:
        raise DataError(f"{where} has no segmentation, as most have; expected polygons or run lengths")
    polygons = [_polygon(each, size, where) for each in outline]
    tools = _pycocotools()
    filled = tools.merge(tools.frPyObjects(polygons, height, width))
    return from_runs(filled["counts"].decode(), size, where)


def _polygon(found: object, size: tuple[int, int], where: str) -> list[float]:
    """x, y, x, y, ... of at least three points; pycocotools goes on forever with some that are far away."""
    if not isinstance(found, list) or len(found) < 6 or len(found) % 2:
        raise DataError(f"{where} has the polygon {reprlib.repr(found)}; expected x, y of three points or more")
    numbers = [number(each, where) for each in found]
    if not all(-size[place % 2] <= each <= 2 * size[place % 2] for place, each in enumerate(numbers)):
        raise DataError(f"{where} has a polygon far outside of its {size[0]} x {size[1]} pixels; correct it")
    return numbers


def _pycocotools() -> Any:
    try:
        return importlib.import_module("pycocotools.mask")
    except ImportError as error:
        raise DataError('polygons of COCO need pycocotools; pip install "sightline[eval]"') from error


def _table(path: Path, split: str | None) -> Path:
    """The annotation file of a split; that of the only split where none is named."""
    if path.is_file():
        if split is not None:
            raise DataError(f"{shown(path)} is one split's file; give its folder to choose {split!r}, or no split")
        return path
    tables = {each.stem.removeprefix("instances_"): each for each in sorted(path.glob("annotations/instances_*.json"))}
    if not tables:
        raise DataError(f"{shown(path)} has no annotations/instances_*.json; expected one, or give a JSON file itself")
    if split is None and len(tables) == 1:
        return next(iter(tables.values()))
    if split not in tables:
        asked = "more than one split" if split is None else f"no split {split!r}"
        raise DataError(f"{shown(path)} has {asked}; choose of: {', '.join(tables)}")
    return tables[split]


def _home(table: Path, files: Sequence[str]) -> Path:
    """The folder in which pictures of an annotation file are."""
    root, split = table.parent.parent, table.stem.removeprefix("instances_")
    places = (root / split, root / "images" / split, root / "images", root, table.parent)
    for place in places:
        if any(is_there(place / file) for file in files):
            return place
    raise DataError(f"{shown(table)}: none of its {len(files)} pictures is in {', '.join(map(shown, places))}")


def _read(table: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(table.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{shown(table)} can't be read ({first_line(error)}); expected COCO's JSON") from error
    parts = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(part), list) for part in parts):
        raise DataError(f"{shown(table)} has no lists {', '.join(parts)}; expected COCO's instances_*.json")
    return content


def _by_id(items: Sequence[Any], key: str, what: str, problems: list[str]) -> dict[object, Said]:
    """Items by their ids; one without an id, or a text under `key`, is a problem, and so is a second of an id."""
    found: dict[object, Said] = {}
    for item in items:
        identity, text = (item.get("id"), item.get(key)) if isinstance(item, dict) else (None, None)
        if not isinstance(identity, int | str) or not isinstance(text, str) or not text or not is_text(text):
            problems.append(f"{what} {reprlib.repr(item)} can't be read; expected an id and a {key}")
        elif identity in found:
            problems.append(f"{what} {identity} is there twice; only the first is read")
        else:
            found[identity] = item
    return found
