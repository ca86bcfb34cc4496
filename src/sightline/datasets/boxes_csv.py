"""Boxes in a CSV table: a line a box, with the picture's file, the class and the edges.

Columns `file` (or `image`), `label` (or `wnid`), `x0`, `y0`, `x1`, `y1`, in pixels of the stored picture. Where
there are `orig_width`, `orig_height` and `orig_x0` to `orig_y1`, of the picture before it was resized, those are
scaled by stored / original, each way by itself: they fit whatever size the pictures have now.

Tables made from ILSVRC's XML or wsolevaluation's lists leave out the last pixel of each box, one of the original;
`ends="from-zero"` puts it back.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sightline.datasets.boxes import Ends, box, by_label, number
from sightline.datasets.listed import Listed, is_there, shown, title
from sightline.errors import DataError
from sightline.geometry import Box
from sightline.images import read_picture
from sightline.trials import Known, Sample

FILE = "boxes.csv"
MOST = 1_000_000  # characters of a first line
_EDGES = ("x0", "y0", "x1", "y1")
_ALSO = {"image": "file", "wnid": "label"}
_ORIGINAL = ("orig_width", "orig_height", *(f"orig_{each}" for each in _EDGES))


@dataclass(frozen=True)
class Row:
    """A line of the table: where it stands, and its values by column, or what is wrong with it."""

    where: str
    values: Mapping[str, str]
    wrong: str = ""


def is_boxes_csv(path: Path) -> bool:
    """A folder with boxes.csv, or a CSV table whose first line names an edge; other tables are manifests."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return (path / FILE).is_file()
    with path.open(encoding="utf-8-sig", errors="replace") as opened:
        first = opened.readline(MOST).replace("\0", "")  # which UTF-16 has, that boxes_csv refuses
    names = {name.strip(' "\n') for name in re.split("[,;\t]", first)}
    return not names.isdisjoint({*_EDGES, *_ORIGINAL[2:]})


def boxes_csv(path: Path, *, split: str | None = None, ends: Ends = Ends.EDGES) -> Listed[Sequence[Row]]:
    """The pictures that are listed in a folder's boxes.csv, or in a table of another name; there are no splits.

    Raises DataError for a table that can't be read or lacks a column.
    """
    if split is not None:
        raise DataError(f"{shown(path)} has no split {split!r}: a table of boxes has none; give the split's table")
    table = path / FILE if path.is_dir() else path
    problems: list[str] = []
    entries: dict[str, list[Row]] = {}
    for row in _rows(table):
        if row.values["file"]:
            entries.setdefault(row.values["file"], []).append(row)
        else:
            problems.append(f"{row.where} names no file")
    for file in [file for file in entries if not is_there(table.parent / file)]:
        problems.append(f"{entries.pop(file)[0].where} names {shown(table.parent / file)}, which isn't there")
    read = partial(_sample, folder=table.parent, ends=Ends(ends))
    return Listed(title(path, None), frozenset({Known.BOXES}), entries, read, tuple(problems))


def _sample(name: str, rows: Sequence[Row], *, folder: Path, ends: Ends) -> Sample:
    picture = read_picture(folder / name)
    return Sample(name, picture, by_label((*_object(row, picture.size, ends), False) for row in rows))


def _object(row: Row, size: tuple[int, int], ends: Ends) -> tuple[str, Box]:
    if row.wrong or not row.values["label"]:
        raise DataError(f"{row.where} {row.wrong or 'names no class'}; its picture is left out")
    if not set(_ORIGINAL) <= row.values.keys():
        return row.values["label"], box([row.values[each] for each in _EDGES], ends, size, row.where)
    width, height, *corners = (number(row.values[each], row.where) for each in _ORIGINAL)
    if width <= 0 or height <= 0:
        raise DataError(f"{row.where} has an original of {width:g} x {height:g} pixels; correct it")
    return row.values["label"], box(corners, ends, size, row.where, (size[0] / width, size[1] / height))


def _rows(table: Path) -> list[Row]:
    """The table's lines, their values under `file`, `label` and the edges' names."""
    file = shown(table)
    try:
        with table.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.reader(opened, strict=True)
            header = [_ALSO.get(name.strip(), name.strip()) for name in next(reader, [])]
            lines = [(reader.line_num, line) for line in reader if line]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{file} can't be read ({error}); expected a CSV table of boxes, as UTF-8") from error
    whole = set(_ORIGINAL) <= set(header)
    if lacking := {"file", "label", *(() if whole else _EDGES)} - set(header):
        told = ", ".join(sorted(lacking))
        raise DataError(f"{file} has no column {told}; expected a first line with file, label, {', '.join(_EDGES)}")
    rows = []
    for place, line in lines:
        values = dict.fromkeys(header, "") | {name: text.strip() for name, text in zip(header, line, strict=False)}
        wrong = "" if len(line) == len(header) else f"has {len(line)} values, expected {len(header)}"
        rows.append(Row(f"{file}, line {place}", values, wrong))
    return rows
