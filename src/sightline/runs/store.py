"""A run's folder: what was asked, in run.json, and the rows, in parts that are written whole or not at all.

A run is cut into parts of so many pictures each, always in the same way. A part's file is there or it isn't, so a run
that was stopped at any instant goes on with the parts that are missing, and nobody can write a row twice: two who
work at one part at the same time write the same file.
"""

import errno
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.errors import DataError, first_line
from sightline.runs.columns import arrow, schema

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "run.json"
ROWS = "rows"
OVERLAYS = "overlays"
EVIDENCE = "audit/evidence.parquet"  # what an audit measures of the rows
LEVEL = 1  # zstd's; higher ones cost more than they save
NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)

TOLD = ("answer", "spec", "versions")  # what a run's question tells beside what it is known by
NEAR = 0.02  # of the largest logit, by which the same net may differ on other hardware or in a narrow dtype

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
        with writable(self.folder):
            there = {entry.name for entry in os.scandir(self.folder / ROWS)}
        return [part for part in range(self.parts) if _name(part) not in there]

    def tidy(self) -> None:
        """Remove what was left by those who were stopped while they wrote; for when no part is missing."""
        for left in [*(self.folder / ROWS).glob(".*.tmp"), *(self.folder / OVERLAYS).glob("part-*/.*.tmp")]:
            left.unlink(missing_ok=True)


def write_part(folder: Path, part: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a part's rows to a run's folder, whole or not at all. Raises DataError where it can't be written to.

    A row is a mapping by column, of which those may lack that are null; its map is an array of float16 values.
    """
    pa = arrow()
    from pyarrow import parquet

    columns = [
        _maps([row.get("map") for row in rows]) if field.name == "map"
        else pa.array([row.get(field.name) for row in rows], field.type)
        for field in schema()
    ]  # fmt: skip
    sink = pa.BufferOutputStream()
    table = pa.Table.from_arrays(columns, schema=schema())
    parquet.write_table(table, sink, compression="zstd", compression_level=LEVEL)
    with writable(folder):
        place(file_of(folder, part), sink.getvalue())


def _maps(maps: Sequence[Any]) -> "pa.Array":
    """Lists of float16 numbers, some of which may be missing, without a Python object for each number."""
    pa = arrow()
    flat = [np.asarray([] if each is None else each, np.float16).ravel() for each in maps]
    ends = np.cumsum([0, *map(len, flat)], dtype=np.int64).astype(np.int32)
    cells = pa.array(np.concatenate([*flat, np.empty(0, np.float16)]), pa.float16())
    missing = pa.array([each is None for each in maps], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), cells, mask=missing)


def clear(folder: Path) -> None:
    """Remove what a run wrote to a folder, and what an audit measured of it, but nothing else.

    Raises DataError where that can't be done.
    """
    with writable(folder):
        overlays = [*folder.glob(f"{OVERLAYS}/part-*/*.jpg"), *folder.glob(f"{OVERLAYS}/part-*/.*.tmp")]
        # The question goes last: a folder with rows and no question would take any other.
        rows = [*folder.glob(f"{ROWS}/part-*.parquet"), *folder.glob(f"{ROWS}/.*.tmp")]
        for file in [*rows, *overlays, folder / EVIDENCE, folder / FILE]:
            file.unlink(missing_ok=True)
        for empty in [*folder.glob(f"{OVERLAYS}/part-*"), folder / OVERLAYS, folder / ROWS]:
            with suppress(OSError):  # what else is in it isn't ours
                empty.rmdir()


def file_of(folder: Path, part: int) -> Path:
    """A part's file in a run's folder, there or not."""
    return folder / ROWS / _name(part)


def _name(part: int) -> str:
    return f"part-{part:06}.parquet"


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


def place(file: Path, data: "bytes | pa.Buffer", *, new: bool = False, lasting: bool = True) -> None:
    """Write a file whole or not at all; a `lasting` one also where the machine loses its power.

    A `new` one is never put over another.
    """
    part = file.with_name(f".{file.name}.{socket.gethostname()}-{os.getpid()}-{token_hex(4)}.tmp")
    try:
        with part.open("wb") as opened:
            opened.write(data)
            if lasting:
                opened.flush()
                os.fsync(opened.fileno())
        if new:
            _link(part, file)
        else:
            part.replace(file)
    except FileNotFoundError:
        if not file.is_file():  # else another worker wrote it, ended the run and tidied up
            raise
    finally:
        part.unlink(missing_ok=True)


def _link(part: Path, file: Path) -> None:
    """Give a file its name unless another has it: another worker of the same run was faster, and the two are compared.

    Disks that know no links, as some of networks, are asked first, which leaves a moment in which both may write.
    """
    try:
        os.link(part, file)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if not file.exists():
            part.replace(file)


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
    now, was = (compared(each) | {"answer": each.get("answer")} for each in (json.loads(json.dumps(asked)), kept))
    for name in {**now, **was}:
        if not _same(was.get(name), now.get(name)):
            raise DataError(
                f"{file} holds another run: its {name} was {_short(was.get(name))}, now it is "
                f"{_short(now.get(name))}; choose another folder, or --fresh to begin again"
            )


def compared(question: Question) -> dict[str, Any]:
    """What of a question tells one run from another to the letter: a data set by its path, if it has one."""
    path = question.get("opened") is not None
    return {name: value for name, value in question.items() if name not in TOLD and not (path and name == "data")}


def _same(this: Any, that: Any) -> bool:
    """Whether values are equal; lists of numbers nearly so, as other hardware rounds otherwise."""
    lists = isinstance(this, list) and isinstance(that, list) and len(this) == len(that)
    if not lists or not all(isinstance(each, float) for each in [*this, *that]):
        return bool(this == that)
    near = NEAR * max(map(abs, this), default=0.0)
    return all(abs(a - b) <= near for a, b in zip(this, that, strict=True))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
