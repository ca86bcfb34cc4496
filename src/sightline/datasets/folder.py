"""A folder of pictures: in folders named by their class, or all in one with nothing known of them."""

from pathlib import Path

from sightline.datasets.files import File, Files, stored
from sightline.datasets.listed import pictures_below, shown, title
from sightline.errors import DataError
from sightline.images import PICTURE_SUFFIXES


def is_folder(path: Path) -> bool:
    """Pictures in the folder itself or in a folder of it."""
    return path.is_dir() and any(_is_picture(each) or any(map(_is_picture, _inside(each))) for each in _inside(path))


def folder(path: Path, *, split: str | None = None) -> Files:
    """The pictures of the folder, or of the folder of a split in it, with their classes, without boxes.

    Raises DataError where there are none, or where all lie deeper than in folders of classes.
    """
    problems: list[str] = []
    home = path if split is None else path / split
    pictures = {each.relative_to(home): each for each in pictures_below(home, problems)}
    flat = all(len(name.parts) == 1 for name in pictures)
    entries = {}
    for name, picture in pictures.items():
        if len(name.parts) == (1 if flat else 2):
            entries[name.as_posix()] = File(stored(picture), () if flat else (picture.parent.name,))
        else:
            why = "is in no class's folder" if len(name.parts) == 1 else "lies deeper than a class's folder"
            problems.append(f"{shown(picture)} {why}; expected {shown(home)}/CLASS/PICTURE")
    if not entries:
        splits = ", ".join(sorted({name.parts[0] for name in pictures}))
        raise DataError(
            f"{shown(home)} has no pictures in folders of classes, only deeper; is one of {splits} a split?"
        )
    return Files.of(title(path, split), entries, not flat, problems)


def _inside(path: Path) -> list[Path]:
    return list(path.iterdir()) if path.is_dir() else []


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()
