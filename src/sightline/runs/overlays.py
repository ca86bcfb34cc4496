"""Overlays of a run: each picture with its map over it, as a small JPEG."""

import re
from io import BytesIO

import numpy as np
from PIL import Image

from sightline.explanation import is_fine
from sightline.geometry import Framing
from sightline.render import overlay
from sightline.runs.rows import Made, scaled
from sightline.runs.store import OVERLAYS

QUALITY = 85


def drawn(made: Made, picture: Image.Image, framing: Framing) -> bytes:
    """The JPEG file of a map over its picture, in whatever size that is."""
    assert made.map is not None
    assert made.method is not None
    heat = scaled(framing, picture.size).to_picture(made.map).numpy()
    signed = made.method.signed
    lowest = 0.0 if signed else max(float(np.nanmin(heat)), 0.0)
    file = BytesIO()
    over = overlay(picture, heat - lowest, signed=signed, fine=is_fine(made.map, framing.image[0]))
    over.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def name(part: int, place: int, number: int, target: str, method: str) -> str:
    """`overlays/part-000012/0031-2-tabby-grad-cam.jpg`: the second map of the picture at a place of the part.

    The numbers alone tell the maps apart, whatever targets and methods are called.
    """
    return f"{OVERLAYS}/part-{part:06}/{place:04}-{number}-{_slug(target)}-{_slug(method)}.jpg"


def _slug(text: str) -> str:
    """Words as part of a file's name on any disk: ASCII letters, digits and a few signs."""
    return re.sub(r"[^A-Za-z0-9+.=-]+", "_", text).strip("_.")[:60] or "x"
