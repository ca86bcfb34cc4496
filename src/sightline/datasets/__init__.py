"""Data sets, each a row of a table: readers of files in the layouts that are about, and generated scenes."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from sightline.datasets.boxes import Ends
from sightline.datasets.boxes_csv import boxes_csv, is_boxes_csv
from sightline.datasets.coco import coco, is_coco
from sightline.datasets.folder import folder, is_folder
from sightline.datasets.imagenet import imagenet, is_imagenet
from sightline.datasets.listed import Listed, shown
from sightline.datasets.manifest import is_manifest, manifest
from sightline.datasets.masks import is_masks, masks
from sightline.datasets.shards import is_pattern, is_shards, shards
from sightline.datasets.subset import subset
from sightline.datasets.voc import is_voc, voc
from sightline.errors import DataError
from sightline.named import found
from sightline.trials import DataSet

SCENES = "scenes:"


@dataclass(frozen=True)
class Source:
    """A row: what opens a data set, and what it looks like.

    `open` is `open(path, *, split, options ...)` where there is `fits`, which says whether a path has this layout;
    else it generates, `open(*, options ...)`, and may be "module:function", imported only when it is opened.
    """

    name: str
    open: Callable[..., DataSet] | str
    says: str
    fits: Callable[[Path], bool] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def opener(self) -> Callable[..., DataSet]:
        if not isinstance(self.open, str):
            return self.open
        module, _, function = self.open.partition(":")
        opener: Callable[..., DataSet] = getattr(import_module(module), function)
        return opener

    @cached_property
    def choices(self) -> dict[str, Any]:
        """The options that can be set, with their values."""
        taken = inspect.signature(self.opener).parameters.values()
        given = ("path", "split") if self.fits is not None else ()
        return {p.name: p.default for p in taken if p.name not in given} | self.options

    @property
    def title(self) -> str:
        """The name, with the options that were set: `voc:masks=False`."""
        return ":".join([self.name, *(f"{name}={value}" for name, value in self.options.items())])

    def set(self, **options: Any) -> Self:
        """The row with some of its options set. Raises DataError for one that it doesn't have."""
        for name in options:
            if name not in self.choices:
                listed = ", ".join(f"{key}={value}" for key, value in self.choices.items()) or "none"
                raise DataError(f"{self.name} has no option {name!r}; its options: {listed}")
        return replace(self, options={**self.options, **options})


DATASETS = (
    Source("voc", voc, "Annotations/*.xml beside JPEGImages/", is_voc),
    Source("imagenet", imagenet, "Annotations/**/ILSVRC2012_val_*.xml, pictures in val/", is_imagenet),
    Source("boxes-csv", boxes_csv, "boxes.csv or another table of boxes FILE.csv", is_boxes_csv),
    Source("coco", coco, "annotations/instances_*.json or another file FILE.json", is_coco),
    Source("masks", masks, "images/ beside masks/", is_masks),
    Source("manifest", manifest, "a table of pictures FILE.csv, FILE.tsv or FILE.parquet", is_manifest),
    Source("shards", shards, "FILE.tar, a folder of them, or photos-{000..010}.tar", is_shards),
    Source("folder", folder, "pictures, or folders of classes with pictures", is_folder),
    Source("shapes", "sightline.datasets.shapes:shapes", "shapes of one to three classes, exact masks"),
    Source("grid", "sightline.datasets.grid:grid", "pictures of different classes side by side"),
    Source("difull", "sightline.datasets.difull:difull", "a grid whose other cells the class can't depend on"),
    Source("relations", "sightline.datasets.relations:relations", "coloured, textured shapes beside one another"),
    Source("shortcut", "sightline.datasets.shortcut:shortcut", "a marker that goes with the class"),
    Source("creatures", "sightline.datasets.creatures:creatures", "creatures made of removable parts"),
)
"""The table; a folder of pictures fits nearly everywhere, so it counts only where no other layout does."""

__all__ = [
    "DATASETS", "Ends", "Listed", "Source",
    "boxes_csv", "coco", "folder", "imagenet", "manifest", "masks", "open_data", "shards", "subset", "voc",
]  # fmt: skip


def open_data(what: str | Path, *, layout: str | None = None, split: str | None = None) -> DataSet:
    """The data set at a path, or a generated one, `scenes:NAME`, with options behind, as in `scenes:shapes:count=50`.

    A path may stand for many tar files, `photos-{000..010}.tar`. `layout` is a name in DATASETS, options behind as
    well, as in `voc:masks=False`; without it the path is looked at. Raises DataError, naming what was looked for,
    where no layout fits or more than one does.
    """
    if isinstance(what, str) and what.startswith(SCENES):
        return _generated(what.removeprefix(SCENES), layout, split)
    path = Path(what)
    try:
        if not is_pattern(path):
            path.stat()
        row = _layout(path, split) if layout is None else found(layout, _LAYOUTS, DataError, "layout", "DATASETS")
        data = row.opener(path, split=split, **row.options)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{shown(path)} can't be opened ({error}); expected a folder, a table, FILE.tar, or {SCENES}NAME"
        ) from error
    if row.options and isinstance(data, Listed):
        return replace(data, name=f"{data.name} {row.title}")
    return data


def _generated(name: str, layout: str | None, split: str | None) -> DataSet:
    if layout is not None:
        raise DataError(f"{SCENES}{name} is generated and has no layout {layout!r}; leave it out")
    row = found(name, _SCENES, DataError, "generated data set", "DATASETS")
    if split is not None:
        row = row.set(split=split)
    try:
        return row.opener(**row.options)
    except (TypeError, ValueError) as error:
        listed = ", ".join(f"{key}={value}" for key, value in row.choices.items())
        raise DataError(f"{SCENES}{row.title} can't be made of {listed} ({error})") from error


def _layout(path: Path, split: str | None) -> Source:
    """The row whose layout the path has, or the folder of the split in it."""
    inside = (path,) if split is None else (path, path / split)
    fitting = [row for row in _LAYOUTS if row.fits is not None and any(map(row.fits, inside))]
    fitting = fitting if len(fitting) == 1 else [row for row in fitting if row.open is not folder]
    if len(fitting) == 1:
        return fitting[0]
    among = ", ".join(f"{row.name} ({row.says})" for row in fitting or _LAYOUTS)
    how = "fits more than one layout" if fitting else "fits no layout"
    raise DataError(f"{shown(path)} {how} of: {among}; name one with layout (--layout)")


_LAYOUTS = tuple(row for row in DATASETS if row.fits is not None)
_SCENES = tuple(row for row in DATASETS if row.fits is None)
