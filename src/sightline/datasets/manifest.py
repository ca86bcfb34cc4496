"""A manifest: a table with a line a picture, CSV, TSV or Parquet.

Columns `path` (or file, image, picture, filename), from the table's folder or absolute, and where they are there
`label` (or class, labels; several separated by `|`) and `split`. Each other column says something about the
picture. CSV is as UTF-8, or UTF-16 with its mark; `;` and tabs separate as well.

What is wrong with a line is a problem, and the others are read; that a file is missing is found when it is read.
"""

import csv
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sightline.datasets.boxes_csv import is_boxes_csv
from sightline.datasets.files import File, Files, labels_in, stored
from sightline.datasets.listed import is_text, shown, title
from sightline.errors import DataError

SUFFIXES = (".csv", ".tsv", ".parquet")
PATHS = ("path", "file", "image", "picture", "filename")
LABELS = ("label", "class", "labels")
SPLIT = "split"

Cells = Sequence[str]
Line = tuple[int, Cells | str]
"""A line's number and its cells, or what is wrong with it."""


@dataclass(frozen=True)
class Rows(Mapping[str, File]):
    """The files of a table's lines, by their paths; each is made when it is asked for."""

    folder: Path
    columns: tuple[str, ...]
    path: int
    label: int | None
    cells: Mapping[str, Cells] = field(repr=False)

    def __getitem__(self, name: str) -> File:
        cells = self.cells[name]
        labels = () if self.label is None else labels_in(cells[self.label])
        named = zip(self.columns, cells, strict=True)
        about = {
            column: cell
            for place, (column, cell) in enumerate(named)
            if column and cell and place not in (self.path, self.label)
        }
        return File(stored(self.folder / name), labels, about)

    def __iter__(self) -> Iterator[str]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)


def is_manifest(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file() and not is_boxes_csv(path)


def manifest(path: Path, *, split: str | None = None) -> Files:
    """The pictures that a table lists, or those of a split, which the column `split` names.

    Raises DataError for a table that can't be read, that lacks a column or the split, or lists nothing.
    """
    file, problems = shown(path), list[str]()
    header, lines = _parquet(path, problems) if path.suffix.lower() == ".parquet" else _text(path)
    columns = tuple(name.strip() for name in header)
    where, label, part = (_place(names, columns, file) for names in (PATHS, LABELS, (SPLIT,)))
    if where is None:
        told = ", ".join(columns)[:200] or "nothing"
        raise DataError(f"{file} has no column path (or {', '.join(PATHS[1:])}); its columns: {told}")
    if split is not None and part is None:
        raise DataError(f"{file} has no column split, so no split {split!r}; leave it out, or add the column")
    cells: dict[str, Cells] = {}
    splits: set[str] = set()
    for number, line in lines:
        wrong = line if isinstance(line, str) else _wrong(line, columns, where, cells)
        if wrong:
            problems.append(f"{file}, line {number} {wrong}")
        elif split is None or part is None or line[part] == split:
            cells[line[where]] = tuple(map(sys.intern, line))  # few values, many lines
        elif len(splits) < 20:
            splits.add(line[part])
    if splits and not cells:
        raise DataError(f"{file} has no split {split!r}; there are: {', '.join(sorted(splits))}")
    labelled = label is not None and any(each[label] for each in cells.values())
    return Files.of(title(path, split), Rows(path.parent, columns, where, label, cells), labelled, problems)


def _place(names: Sequence[str], columns: Sequence[str], file: str) -> int | None:
    """Where the first of the names that is there stands among the columns, in whatever case."""
    low = [column.lower() for column in columns]
    for name in names:
        if low.count(name) > 1:
            raise DataError(f"{file} has two columns {name}; rename one")
        if name in low:
            return low.index(name)
    return None


def _wrong(line: Cells, columns: Sequence[str], where: int, known: Mapping[str, Cells]) -> str:
    if len(line) != len(columns):
        return f"has {len(line)} values, expected {len(columns)}"
    if not line[where]:
        return "names no picture"
    if not all(map(is_text, line)):
        return "is no UTF-8; save the table as UTF-8"
    if line[where] in known:
        return f"lists {shown(Path(line[where]))} again; the first is kept"
    return ""


def _text(path: Path) -> tuple[Cells, Iterator[Line]]:
    """The first line of a table of text, and the others."""
    try:
        with path.open("rb") as opened:
            mark = opened.read(2)
        encoding = "utf-16" if mark in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        with path.open(newline="", encoding=encoding, errors="surrogateescape") as opened:
            first = opened.readline()
        separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
        lines = _lines(path, encoding, separator)
        _, header = next(lines, (1, ()))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if isinstance(header, str) or not all(map(is_text, header)):
        raise _unreadable(path, header if isinstance(header, str) else "its first line is no UTF-8")
    return header, lines


def _lines(path: Path, encoding: str, separator: str) -> Iterator[Line]:
    try:
        with path.open(newline="", encoding=encoding, errors="surrogateescape") as opened:
            reader = csv.reader(opened, strict=True, delimiter=separator)
            while True:
                before = reader.line_num
                try:
                    cells = [cell.strip() for cell in next(reader)]
                except StopIteration:
                    return
                except csv.Error as error:
                    swallowed = f" from line {before + 1} on" if reader.line_num > before + 1 else ""
                    yield reader.line_num, f"can't be read{swallowed} ({error})"
                else:
                    if any(cells):
                        yield reader.line_num, cells
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _parquet(path: Path, problems: list[str]) -> tuple[Cells, Iterator[Line]]:
    """The names of a Parquet table's columns, and its rows as text, numbered from 1."""
    try:
        import pyarrow
        from pyarrow import parquet, types
    except ImportError as error:
        raise DataError(
            f'{shown(path)} needs pyarrow, which is not installed; pip install "sightline[batch]"'
        ) from error
    try:
        schema = parquet.read_schema(path)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise _unreadable(path, error) from error
    columns = []
    for each in schema:
        listed = types.is_list(each.type) or types.is_large_list(each.type)
        held = types.is_nested(each.type) or types.is_binary(each.type) or types.is_large_binary(each.type)
        if not held or (listed and each.name.strip().lower() in LABELS):
            columns.append(each.name)
        else:
            problems.append(f"{shown(path)}: column {each.name!r} of {each.type} is left out; expected plain values")
    return columns, _rows(path, columns)


def _rows(path: Path, columns: Sequence[str]) -> Iterator[Line]:
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(columns=list(columns)):
                for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    yield number, [_cell(value) for value in values]
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise _unreadable(path, error) from error


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return "|".join(map(_cell, value))
    return "" if value is None else str(value).strip()


def _unreadable(path: Path, why: object) -> DataError:
    told = re.sub(r"\s+", " ", str(why))
    return DataError(f"{shown(path)} can't be read ({told}); expected a table of pictures, CSV, TSV or Parquet")
