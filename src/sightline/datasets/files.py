"""Pictures as files that are not yet read, so that who has millions of them decodes no more than is needed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

from sightline.datasets.listed import Listed, shown
from sightline.errors import PictureError
from sightline.images import read_picture
from sightline.trials import Known, Sample, Truth


@dataclass(frozen=True, slots=True)
class File:
    """A picture's file, or a member of an archive: `read` gives its bytes, and raises PictureError naming it.

    `labels` are the classes in the picture, and `about` is what else is said of it, as text.
    """

    read: Callable[[], bytes] = field(repr=False)
    labels: tuple[str, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)


class Files(Listed[File]):
    """A data set of such files: its samples are read and decoded at full size, `entries` gives the files.

    Where a label lies in a file beside its picture, that is read when the entry is asked for, which then raises
    DataError where it can't be.
    """

    @classmethod
    def of(cls, name: str, entries: Mapping[str, File], labelled: bool, problems: list[str]) -> Self:
        """The data set; `labelled` where it says classes. Raises DataError where nothing is left to read."""
        return cls(name, frozenset({Known.CLASSES} if labelled else ()), entries, _sample, tuple(problems))


def stored(path: Path) -> Callable[[], bytes]:
    """What reads a file of a disk. Raises PictureError, naming it, where it can't be read."""
    return partial(_bytes, path)


def labels_in(text: str) -> tuple[str, ...]:
    """The labels in a cell or a small file of text, separated by `|`, each once."""
    return tuple(dict.fromkeys(label for each in text.split("|") if (label := each.strip())))


def _bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise PictureError(f"{shown(path)} is no regular file; expected a picture's; check the path")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise PictureError(
            f"{shown(path)} can't be read ({reason}); expected a picture's file; check the path and its permissions"
        ) from error


def _sample(name: str, file: File) -> Sample:
    picture = read_picture(file.read(), name=name)
    return Sample(name, picture, tuple(map(Truth, file.labels)), about=file.about)
