"""Runs written by hand: rows of which all is known, kept as a run keeps them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sightline.datasets.listed import Listed
from sightline.runs.kept import Run
from sightline.runs.store import Store, write_part
from sightline.trials import Known, Sample, Truth

Grid = Any  # numbers (height, width)


def row(picture: str, cells: Grid, **others: Any) -> dict[str, Any]:
    """A row of a picture as large as its map, all of it seen; class 0 called `a`, asked as `label`, predicted right."""
    values = np.asarray(cells, dtype=np.float64)
    height, width = values.shape
    scale = float(np.abs(values).max())
    return {
        "place": 0, "picture": picture, "content": f"content of {picture}", "width": width, "height": height,
        "labels": ["a"], "about": {}, "predicted": 0, "predicted_name": "a", "predicted_probability": 0.9,
        "correct": True, "asked": "label", "target": "a", "index": 0, "score": 1.0, "probability": 0.9, "rank": 0,
        "method": "grad-cam", "layer": "last", "question": "0" * 16,
        "map": (values / scale if scale else values).ravel().tolist(), "map_height": height, "map_width": width,
        "scale": scale, "seen": [0.0, 0.0, float(width), float(height)], "error": None,
    } | others  # fmt: skip


def kept(folder: Path, rows: Sequence[Mapping[str, Any]], data: Any = None, **others: Any) -> Run:
    """The rows as a run's only part."""
    question = {
        "model": "net", "weights": "w" * 16, "spec": None, "preprocess": "", "data": "pictures", "opened": None,
        "layout": None, "split": None, "sample": None, "seed": 0, "pictures": len({each["picture"] for each in rows}),
        "names": "", "layer": None,
        "targets": ["label"], "methods": [["grad-cam", {}]], "part": 256, "batch": 16, "overlays": False,
        "question": "0" * 16,
    }  # fmt: skip
    Store(folder, question | others, 1)
    write_part(folder, 0, rows)
    return Run(folder, data)


def marks(truths: Mapping[str, Sequence[Truth]], size: tuple[int, int], name: str = "marks") -> Listed[Any]:
    """A data set of grey pictures of a size (width, height), with their truths."""

    def read(picture: str, entry: Sequence[Truth]) -> Sample:
        return Sample(picture, Image.new("RGB", size, (90, 90, 90)), tuple(entry))

    return Listed(name, frozenset({Known.MASKS, Known.BOXES}), dict(truths), read)
