"""A data set as a table of names, and a function that reads one of them.

What opens a folder makes one of these: opening lists files and annotations, only reading decodes a picture.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from sightline.errors import DataError, PictureError
from sightline.images import pictures_in
from sightline.trials import Known, Sample

Entry = TypeVar("Entry")


@dataclass(frozen=True, eq=False)
class Listed(Generic[Entry]):
    """A DataSet. `read` takes a name and its entry, and raises PictureError or DataError naming the file.

    Raises DataError where nothing is left to read.
    """

    name: str
    knows: frozenset[Known]
    entries: Mapping[str, Entry] = field(repr=False)
    read: Callable[[str, Entry], Sample] = field(repr=False)
    problems: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not self.entries:
            why = self.problems[0] if self.problems else "it is empty"
            raise DataError(f"{self.name} has no picture that can be judged: {why}")

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, place: int) -> Sample:
        name = self.names[place]
        return self.read(name, self.entries[name])


def title(path: Path, split: str | None) -> str:
    """The name of a data set: where it is, as it was given, and the split."""
    return path.as_posix() if split is None else f"{path.as_posix()} {split}"


def shown(path: Path) -> str:
    """The path on one line, whatever characters it has."""
    return str(path) if str(path).isprintable() else repr(str(path))


def pictures_below(folder: Path, problems: list[str]) -> list[Path]:
    """All pictures in a folder and below, sorted; those whose names are no text are problems.

    Raises DataError where it is no folder, or holds none.
    """
    if not folder.is_dir():
        raise DataError(f"{shown(folder)} is no folder; expected one with pictures")
    try:
        pictures = pictures_in(folder)
    except PictureError as error:
        raise DataError(str(error)) from error
    named = []
    for path in pictures:
        if is_text(str(path)):
            named.append(path)
        else:
            problems.append(f"{shown(path)} has a name that is no UTF-8; rename it")
    return named


def by_stem(paths: Iterable[Path], problems: list[str], *, below: Path | None = None) -> dict[str, Path]:
    """Files by their names without the ending, or by their paths below a folder without it.

    Where two share one, nobody can say which is meant: that is a problem, and neither is read.
    """
    found: dict[str, list[Path]] = {}
    for path in paths:
        stem = path.stem if below is None else path.relative_to(below).with_suffix("").as_posix()
        found.setdefault(stem, []).append(path)
    for stem, files in found.items():
        if len(files) > 1:
            problems.append(f"{' and '.join(map(shown, files))} are both {stem!r}, so neither is read; rename one")
    return {stem: files[0] for stem, files in found.items() if len(files) == 1}


def is_there(path: Path) -> bool:
    """Whether the path is a file; one that is too long to be one isn't."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_text(text: str) -> bool:
    """Whether a report could show it: names of files, and strings in JSON, may hold halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
