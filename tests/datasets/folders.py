"""Small data sets on disk, made by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def picture(path: Path, size: tuple[int, int] = (20, 10)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 100, 50)).save(path)
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def table(path: Path, content: Any) -> Path:
    return text(path, json.dumps(content))


def indices(path: Path, rows: Any, mode: str = "P") -> Path:
    """A palette PNG, or a grey one, whose pixels are these numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(rows, dtype=np.uint8))
    if mode == "P":
        image.putpalette([each for index in range(256) for each in (index, 255 - index, index // 2)])
    image.save(path)
    return path


def thing(name: str, *corners: Any, difficult: str = "0") -> str:
    names = ("xmin", "ymin", "xmax", "ymax")
    box = "".join(f"<{name}>{corner}</{name}>" for name, corner in zip(names, corners))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{box}</bndbox></object>"


def annotation(path: Path, *things: str, size: tuple[Any, Any] | None = (20, 10)) -> Path:
    told = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return text(path, f"<annotation>{told}{''.join(things)}</annotation>")
