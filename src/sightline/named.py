"""Rows of a table, found by name as people write it, with options behind: `Grad-CAM++`, `rise:masks=4000:cells=8`."""

import ast
import difflib
from collections.abc import Iterable
from typing import Any, Protocol, Self, TypeVar

from sightline.errors import SightlineError


class Named(Protocol):
    """A row: a name, and options that can be set."""

    @property
    def name(self) -> str: ...
    def set(self, **options: Any) -> Self: ...


Row = TypeVar("Row", bound=Named)


def found(text: str, rows: Iterable[Row], error: type[SightlineError], what: str, listed: str) -> Row:
    """The row of a name, with the options behind it set; case, hyphens, underscores and spaces don't count.

    Raises `error`, naming `what` is sought and the nearest names; `listed` says where all are. Rows
    raise their own for options that they don't have.
    """
    name, *options = text.split(":")
    plain = {_plain(row.name): row for row in rows}
    row = plain.get(_plain(name))
    if row is None:
        near = difflib.get_close_matches(_plain(name), plain, n=3, cutoff=0.4) or list(plain)[:1]
        nearest = ", ".join(repr(plain[each].name) for each in near)
        raise error(f"no {what} {name!r}; nearest: {nearest}; {listed} lists all")
    return row.set(**dict(_option(each, row.name, error) for each in options)) if options else row


def _plain(name: str) -> str:
    return name.casefold().translate({ord(c): None for c in "-_ "}).replace("plusplus", "++")


def _option(text: str, name: str, error: type[SightlineError]) -> tuple[str, Any]:
    """`masks=4000` -> ("masks", 4000); what is no number, tuple or truth value stays text."""
    key, sign, value = text.partition("=")
    if not sign:
        raise error(f"option {text!r} of {name} can't be read; expected NAME=VALUE behind the name and a colon")
    try:
        return key.strip().replace("-", "_"), ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key.strip().replace("-", "_"), value.strip()
