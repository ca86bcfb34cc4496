"""Scenes: a data set whose pictures are drawn when they are asked for, so that all of them is known."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import index

from PIL.Image import Image

from sightline.datasets.listed import Listed
from sightline.errors import DataError
from sightline.trials import Known, Sample, Truth

SPLITS = ("train", "val", "test")

Scene = tuple[Image, tuple[Truth, ...]]
"""A picture and what is in it."""


def scenes(
    name: str,
    stem: str,
    count: int,
    draw: Callable[[int], Scene],
    problems: Sequence[str] = (),
    about: Callable[[int], Mapping[str, str]] | None = None,
) -> Listed[int]:
    """The scenes that `draw` gives for the places 0 to `count`, each called by `stem` and its place.

    `about` gives what else there is to say of a place's, for `Sample.about`.
    """
    entries = {f"{stem}-{place:04}": place for place in range(count)}
    read = partial(_sample, draw=draw, about=about)
    return Listed(name, frozenset({Known.MASKS, Known.BOXES}), entries, read, tuple(problems))


def titled(name: str, **options: object) -> str:
    """A data set's name as it is asked for: `scenes:shapes:split=test:seed=0`."""
    return ":".join(["scenes", name, *(f"{key}={value}" for key, value in options.items())])


def check(name: str, count: int, split: str, size: int, smallest: int) -> None:
    """Raise DataError for a count, a split or a size in pixels that can't be drawn, TypeError for no whole numbers."""
    if index(count) < 1:
        raise DataError(f"{name} of count={count}; expected one picture or more")
    if split not in SPLITS:
        raise DataError(f"{name} has no split {split!r}; choose {', '.join(SPLITS)}")
    if index(size) < smallest:
        raise DataError(f"{name} of size={size} pixels; expected {smallest} or more")


def _sample(
    name: str, place: int, *, draw: Callable[[int], Scene], about: Callable[[int], Mapping[str, str]] | None
) -> Sample:
    return Sample(name, *draw(place), about={} if about is None else about(place))
