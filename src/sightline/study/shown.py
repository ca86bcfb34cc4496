"""What a participant sees: a picture in one size with a map over it, and nothing that tells whose it is."""

import io
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from sightline.errors import MethodError
from sightline.explanation import is_fine
from sightline.methods import method as method_of
from sightline.render import overlay
from sightline.runs.kept import Row
from sightline.runs.rows import scaled

SIDE = 480  # pixels of the longer side
QUALITY = 92


def shown(picture: Image.Image, row: Row, question: Mapping[str, Any], side: int = SIDE) -> Image.Image:
    """The picture with a row's map over it, `side` pixels on its longer side, as `Explanation.overlay` draws it.

    `question` is that of the run. The map is laid out at that size, so that it is smooth on a small picture too.
    """
    scale = side / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    heat = np.asarray(scaled(row.framing, size).to_picture(row.map).numpy())
    signed = is_signed(row)
    lowest = 0.0 if signed else max(float(np.nanmin(heat)), 0.0)
    fine = is_fine(row.map, _width(question, row))
    small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    return overlay(small, heat - lowest, signed=signed, fine=fine)


def encoded(picture: Image.Image) -> bytes:
    """The picture as a JPEG that has nothing in it but pixels; coloured dots keep their colour."""
    data = io.BytesIO()
    Image.fromarray(np.asarray(picture.convert("RGB"))).save(data, "JPEG", quality=QUALITY, subsampling=0)
    return data.getvalue()


def is_signed(row: Row) -> bool:
    """Whether the row's method tells evidence against too; of one that isn't in the table, whether this map does."""
    try:
        return method_of(row["method"]).signed
    except MethodError:
        return bool((row.map < 0).any())


def _width(question: Mapping[str, Any], row: Row) -> int:
    """How many pixels across the model's image had; the map's own, where the run doesn't tell."""
    told = re.search(r"\bsize=\(\d+, (\d+)\)", str(question.get("preprocess")))
    return int(told[1]) if told else row.map.shape[-1]
