"""Shards: tar files in WebDataset's layout, a sample all files of the same name up to the first dot.

A picture, `7.jpg` say; its labels, separated by `|`, in `7.cls`, `7.label` or `7.txt`, the first that is there, or
in `7.json` as "label", "class" or "labels"; the json's other plain values, and the other texts, say something about
the picture. Opening reads headers only, reading a sample only its own bytes.

https://github.com/webdataset/webdataset; there a sample's files must follow one another, here they need not.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from sightline.datasets.files import File, Files, labels_in
from sightline.datasets.listed import shown, title
from sightline.datasets.tars import Member, members, reader
from sightline.errors import DataError, PictureError
from sightline.images import PICTURE_SUFFIXES

PICTURES = tuple(suffix[1:] for suffix in PICTURE_SUFFIXES)
TEXTS = ("cls", "label", "txt")
JSON = "json"
LABELS = ("label", "class", "labels")

_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
MOST_SHARDS = 1_000_000


@dataclass(frozen=True)
class Samples(Mapping[str, File]):
    """The files of tar files' samples, by shard and key; each is made when it is asked for.

    `found` has of each the shard's place and the members by their suffixes.
    """

    tars: Sequence[Path]
    found: Mapping[str, tuple[int, Mapping[str, Member]]] = field(repr=False)

    def __getitem__(self, name: str) -> File:
        """The file. Raises DataError where its labels or what is said of it can't be read."""
        place, parts = self.found[name]
        tar = self.tars[place]
        picture = next(parts[suffix] for suffix in parts if suffix in PICTURES)
        texts = {suffix: _text(tar, parts[suffix]) for suffix in TEXTS if suffix in parts}
        said = _object(tar, parts[JSON]) if JSON in parts else {}
        if texts:
            labels = labels_in(texts.pop(next(iter(texts))))
        else:
            key = next((key for key in LABELS if key in said), None)
            labels = _labels(said.pop(key)) if key else ()
        about = {_shown(key): told for key, value in said.items() if (told := _shown(value))}
        return File(reader(tar, picture), labels, about | {key: text for key, text in texts.items() if text})

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)


def is_pattern(path: Path) -> bool:
    """Whether a path stands for many shards, `photos-{000..010}.tar`, and is none itself."""
    return bool(_RANGE.search(str(path))) and path.name.lower().endswith(_TARS) and not path.exists()


def is_shards(path: Path) -> bool:
    """A tar file, a pattern of them, or a folder with some and with neither pictures nor folders."""
    if path.is_dir():
        inside = [each for each in path.iterdir() if not each.name.startswith(".")]
        others = any(each.is_dir() or each.suffix.lower() in PICTURE_SUFFIXES for each in inside)
        return not others and any(map(_is_tar, inside))
    return is_pattern(path) or (_is_tar(path) and path.is_file())


def shards(path: Path, *, split: str | None = None) -> Files:
    """The samples of a tar file, of those in a folder or in the folder of a split in it, or of a pattern's.

    Raises DataError where there are none, for a tar file alone that can't be read, and for packed ones.
    """
    problems: list[str] = []
    tars = _tars(path, split)
    found: dict[str, tuple[int, dict[str, Member]]] = {}
    for place, tar in enumerate(tars):
        try:
            _group(place, tar, found, problems)
        except DataError as error:
            if len(tars) == 1:
                raise
            problems.append(str(error))
    for name in [name for name, (_, parts) in found.items() if not any(suffix in PICTURES for suffix in parts)]:
        place, parts = found.pop(name)
        problems.append(f"{shown(tars[place])}: {name!r} has no picture, only {', '.join(sorted(parts))}")
    samples = Samples(tars, found)
    return Files.of(title(path, split), samples, _labelled(samples), problems)


def _tars(path: Path, split: str | None) -> list[Path]:
    if path.is_dir():
        home = path if split is None else path / split
        tars = sorted(filter(_is_tar, home.iterdir())) if home.is_dir() else []
        if not tars:
            raise DataError(f"{shown(home)} has no tar files; expected a folder of .tar")
        return tars
    if split is not None:
        raise DataError(f"{shown(path)} has no split {split!r}: tar files have none; give the split's own")
    return [Path(each) for each in _expanded(str(path))] if is_pattern(path) else [path]


def _expanded(pattern: str) -> Iterator[str]:
    """`a-{08..10}.tar` -> a-08.tar, a-09.tar, a-10.tar; of several ranges the last runs fastest."""
    pieces = _RANGE.split(pattern)
    starts, stops = pieces[1::3], pieces[2::3]
    ranges = [range(int(start), int(stop) + 1) for start, stop in zip(starts, stops, strict=True)]
    count = 1
    for each in ranges:
        count *= len(each)
    if not 0 < count <= MOST_SHARDS:
        raise DataError(
            f"{pattern!r} stands for {count:,} tar files; expected 1 to {MOST_SHARDS:,}, as in {{000..010}}"
        )
    for numbers in product(*ranges):
        told = [f"{number:0{len(start)}}" for number, start in zip(numbers, starts, strict=True)]
        yield "".join(a + b for a, b in zip(pieces[::3], [*told, ""], strict=True))


def _group(place: int, tar: Path, found: dict[str, tuple[int, dict[str, Member]]], problems: list[str]) -> None:
    """Add a tar file's members to the samples that they belong to."""
    for member in members(tar, problems):
        try:
            stored = member.name.decode().removeprefix("./")
        except UnicodeDecodeError:
            problems.append(f"{shown(tar)}: {member.name!r} has a name that is no UTF-8; rename it")
            continue
        folder, slash, base = stored.rpartition("/")
        stem, _, suffix = base.partition(".")
        if not stem:
            continue  # hidden, as are the files that macOS adds
        _, parts = sample = found.setdefault(f"{tar.stem}/{folder}{slash}{stem}", (place, {}))
        suffix = sys.intern(suffix.lower())
        if sample[0] != place:
            problems.append(f"{shown(tar)}: {stored!r} is in a tar file of the same name too; the first is kept")
        elif suffix in parts:
            problems.append(f"{shown(tar)}: {stored!r} is there twice; the first is kept")
        else:
            parts[suffix] = member


def _labelled(samples: Samples) -> bool:
    """Whether a sample has a text beside it, or else the first json that can be read names a class."""
    if any(suffix in parts for _, parts in samples.found.values() for suffix in TEXTS):
        return True
    for name, (_, parts) in samples.found.items():
        if JSON in parts:
            try:
                return bool(samples[name].labels)
            except DataError:
                continue
    return False


def _text(tar: Path, member: Member) -> str:
    try:
        return reader(tar, member)().decode("utf-8-sig").strip()
    except (PictureError, UnicodeDecodeError) as error:
        raise DataError(f"{_named(tar, member)} can't be read ({error}); expected text, as UTF-8") from error


def _object(tar: Path, member: Member) -> dict[str, Any]:
    try:
        said = json.loads(_text(tar, member))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{_named(tar, member)} is no JSON ({error}); correct it") from error
    if not isinstance(said, dict):
        raise DataError(f"{_named(tar, member)} is {type(said).__name__}; expected an object, {{...}}")
    return said


def _labels(value: Any) -> tuple[str, ...]:
    return labels_in("|".join(map(_shown, value if isinstance(value, list) else [value])))


def _shown(value: Any) -> str:
    """A plain value of JSON as text, empty for others."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    return json.dumps(value) if isinstance(value, bool | int | float) else ""


def _named(tar: Path, member: Member) -> str:
    return f"{shown(tar)}: {member.name.decode()!r}"


def _is_tar(path: Path) -> bool:
    return path.name.lower().endswith(_TARS) and not path.name.startswith(".")
