"""A run's folder: what was asked, in run.json, and the rows, in parts that are written whole or not at all.

A run is cut into parts of so many pictures each, always in the same way. A part's file is there or it isn't, so a run
that was stopped at any instant goes on with the parts that are missing, and nobody can write a row twice: two who
work at one part at the same time write the same file.
"""

import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.errors import DataError, first_line
from sightline.runs.columns import arrow, schema

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "run.json"
ROWS = "rows"
LEVEL = 1  # zstd's; higher ones cost more than they save

Question = Mapping[str, Any]


class Store:
    """The parts of a run in a folder, made if need be. `parts` is how many there are in all.

    Raises DataError where the folder holds another run, or can't be written to.
    """

    def __init__(self, folder: Path, question: Question, parts: int) -> None:
        self.folder, self.parts = folder, parts
        schema()
        told = folder / FILE
        with writable(folder):
            (folder / ROWS).mkdir(parents=True, exist_ok=True)
            if not told.is_file():
                place(told, json.dumps(question, indent=2).encode(), new=True)
        check(read_question(folder), question, told)

    def missing(self) -> list[int]:
        """The parts that aren't there yet, in order."""
        return [part for part in range(self.parts) if not self.path(part).is_file()]

    def path(self, part: int) -> Path:
        return self.folder / ROWS / f"part-{part:06}.parquet"

    def add(self, part: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a part's rows, each a mapping by column, whole or not at all. Raises DataError where it can't."""
        pa = arrow()
        from pyarrow import parquet

        table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema())
        sink = pa.BufferOutputStream()
        parquet.write_table(table, sink, compression="zstd", compression_level=LEVEL)
        with writable(self.folder):
            place(self.path(part), sink.getvalue())

    def tidy(self) -> None:
        """Remove what was left by those who were stopped while they wrote; for when no part is missing."""
        for left in (self.folder / ROWS).glob(".*.tmp"):
            left.unlink(missing_ok=True)


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Whatever goes wrong in writing is one line; what is there already stays whole."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{folder} can't be written to ({error.strerror or first_line(error)}); what is there is whole: make room "
            "or mend it, and the same command goes on"
        ) from error


def place(file: Path, data: "bytes | pa.Buffer", *, new: bool = False) -> None:
    """Write a file whole or not at all, also where the machine loses its power; a `new` one never over another."""
    part = file.with_name(f".{file.name}.{socket.gethostname()}-{os.getpid()}.tmp")
    try:
        with part.open("wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        if new:
            with suppress(FileExistsError):  # another worker of the same run was faster; the two are compared
                os.link(part, file)
        else:
            part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def read_question(folder: Path) -> dict[str, Any]:
    """What the run in a folder was asked. Raises DataError where there is none."""
    file = folder / FILE
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{folder} holds no run ({first_line(error)}); expected a folder that `sightline run` wrote, with {FILE}"
        ) from error


def check(kept: Question, asked: Question, file: Path) -> None:
    """Raise DataError, naming what differs, where a folder holds another run than the one asked for."""
    asked = json.loads(json.dumps(asked))
    for name in [*asked, *kept]:
        if kept.get(name) != asked.get(name):
            raise DataError(
                f"{file} holds another run: its {name} was {_short(kept.get(name))}, now it is "
                f"{_short(asked.get(name))}; choose another folder, or --fresh to begin again"
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
