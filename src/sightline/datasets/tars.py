"""Where the members of a tar file lie, from its headers alone: no more is read, whatever the members hold.

The ustar format (POSIX.1-1988), with pax records (POSIX.1-2001) and GNU's long names. `tarfile` of the standard
library stops without a word at a header that is broken, and takes longer.
"""

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from sightline.datasets.listed import shown
from sightline.errors import DataError, PictureError

BLOCK = 512
LONGEST = 1_000_000  # bytes of what a header says of the next member; ours
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_FIELDS = struct.Struct("100s24x12s12x8sc100s6s82x155s12x")
_FILES, _DATALESS = b"\0" + b"07", b"123456"


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file in a tar file: its name as it is stored, and its place and size in bytes."""

    name: bytes
    start: int
    size: int


def members(tar: Path, problems: list[str]) -> Iterator[Member]:
    """The regular files in a tar file, in its order; where it is broken or cut short is a problem, and ends them.

    Raises DataError for a file that can't be opened, or is no tar file or a compressed one.
    """
    try:
        with tar.open("rb") as file:
            yield from _members(file, shown(tar), problems)
    except OSError as error:
        raise DataError(f"{shown(tar)} can't be read ({error.strerror or error}); expected a tar file") from error


def reader(tar: Path, member: Member) -> Callable[[], bytes]:
    """What reads a member's bytes, and no others. Raises PictureError, naming both, where it can't."""
    return partial(_bytes, tar, member)


def _bytes(tar: Path, member: Member) -> bytes:
    name = f"{member.name.decode(errors='replace')!r} in {shown(tar)}"
    try:
        with tar.open("rb") as file:
            file.seek(member.start)
            data = file.read(member.size)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise PictureError(f"{name} can't be read ({reason}); expected the tar file as it was opened") from error
    if len(data) < member.size:
        raise PictureError(f"{name} is cut short: {len(data)} of {member.size} bytes; copy the tar file again")
    return data


def _members(file: IO[bytes], name: str, problems: list[str]) -> Iterator[Member]:
    end, place = file.seek(0, os.SEEK_END), 0
    long: bytes | None = None  # what a header of its own says of the next member
    given: int | None = None
    while place < end:
        at = place
        file.seek(at)
        header = file.read(BLOCK)
        if not any(header):
            return
        if at == 0 and not _sound(header):
            raise DataError(f"{name} {_no_tar(header)}")
        try:
            short, size, kind, magic, prefix = _fields(header)
            size = 0 if kind in _DATALESS else size if given is None else given
            if size < 0 or (kind in b"xLKg" and size > LONGEST):
                raise ValueError
            start = at + BLOCK
            place = start + -(-size // BLOCK) * BLOCK
            if start + size > end:
                problems.append(f"{name} is cut short, within its last file; copy it again")
                return
            if kind == b"x":
                said = _records(file.read(size))
                long, given = said.get(b"path", long), int(said[b"size"]) if b"size" in said else None
                continue
        except ValueError:
            problems.append(f"{name} is broken at byte {at:,}; what comes behind is left out")
            return
        if kind == b"L":
            long = _text(file.read(size))
        elif kind in _FILES:
            folder = _text(prefix) + b"/" if magic == b"ustar\0" and _text(prefix) else b""
            yield Member(long or folder + _text(short), start, size)
        if kind not in b"LKg":
            long = given = None
    problems.append(f"{name} has no end mark: it may have been cut short between two files")


def _fields(header: bytes) -> tuple[bytes, int, bytes, bytes, bytes]:
    """A header's name, size, kind, magic and prefix. Raises ValueError for one that isn't whole."""
    if not _sound(header):
        raise ValueError
    short, stored, _, kind, _, magic, prefix = _FIELDS.unpack(header)
    return short, _number(stored), kind, magic, prefix


def _sound(header: bytes) -> bool:
    """Whether a header's sum is the one that it states, with spaces in place of that."""
    if len(header) < BLOCK:
        return False
    try:
        return sum(header) - sum(header[148:156]) + 8 * 32 == int(header[148:156].strip(b" \0"), 8)
    except ValueError:
        return False


def _number(stored: bytes) -> int:
    """Octal digits, or where the first bit is set as GNU does for sizes above 8 GiB, the bytes behind it."""
    if stored[0] & 0x80:
        return int.from_bytes(stored[1:], "big")
    return int(stored.strip(b" \0") or b"0", 8)


def _records(data: bytes) -> dict[bytes, bytes]:
    """Pax records, each `LENGTH KEY=VALUE` and a line's end."""
    found = {}
    while data:
        length = int(data.partition(b" ")[0])
        if length < 1:
            raise ValueError
        key, _, value = data[:length].partition(b" ")[2].partition(b"=")
        found[key], data = value.removesuffix(b"\n"), data[length:]
    return found


def _text(stored: bytes) -> bytes:
    return stored.partition(b"\0")[0]


def _no_tar(header: bytes) -> str:
    for mark, how in PACKED.items():
        if header.startswith(mark):
            return f"is packed by {how}, so that its files can't be reached one by one; unpack it to a .tar first"
    return f"is no tar file: it begins with {header[:16]!r}; check the path, or copy it again"
