"""Rows: what a model said of pictures, and its maps -> rows of the table, with each map located in its picture."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sightline import regions
from sightline.geometry import Framing
from sightline.origin import NO_LAYER
from sightline.regions import PixelBox
from sightline.runs.explaining import Answers, Failed
from sightline.runs.reading import Read
from sightline.targets import Labels, top_indices
from sightline.types import Method

FRACTION = 0.15  # of the maximum, that is in the box
MOST_PIXELS = 2**20  # on which a map is located; in a larger picture to the nearest of so many places

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Made:
    """One row, and the map that it is about: raw (h, w), with what made it; None where the row is an error's."""

    row: Row
    map: Tensor | None = None
    method: Method | None = None


def unread(read: Read, question: str) -> Made:
    """The row of a picture that has no image."""
    return Made(_known(read, question) | {"error": read.error})


def made(answers: Answers | Failed, labels: Labels, question: str) -> Iterator[Made]:
    """The rows of some pictures, one picture after the other: for each its targets, for each target its methods."""
    if isinstance(answers, Failed):
        yield Made(_known(answers.picture, question) | {"error": answers.error})
        return
    best = top_indices(answers.values, 1)[:, 0].tolist()
    values = answers.values.float().cpu().numpy()
    shares = None if answers.shares is None else answers.shares.cpu().numpy()
    scores = None if answers.scores is None else answers.scores.float().cpu().numpy()
    maps = [found.maps.float().cpu() for found in answers.found]
    for n, read in enumerate(answers.pictures):
        present = answers.present[n]
        picture = _known(read, question) | {
            "predicted": best[n],
            "predicted_name": labels[best[n]],
            "predicted_probability": _share(shares, n, best[n]),
            "correct": best[n] in present if present else None,
        }
        for wanted in answers.wanted[n]:
            asking = picture | {"asked": wanted.asked, "label": wanted.label}
            if wanted.error is not None:
                yield Made(asking | {"error": wanted.error})
                continue
            assert scores is not None
            assert read.framing is not None
            asked = answers.asked[n][wanted.place]
            asking |= {"target": asked.name, "index": asked.index, "score": float(scores[n, wanted.place])}
            if asked.index is not None:
                asking |= {"probability": _share(shares, n, asked.index), "rank": _rank(values[n], asked.index)}
            for found, each in zip(answers.found, maps, strict=True):
                raw = each[n, wanted.place]
                layer = NO_LAYER if found.layer is None else str(found.layer)
                row = asking | {"method": found.method.title, "layer": layer}
                if bool(raw.isfinite().all()):
                    yield Made(row | _mapped(raw, read.framing), raw, found.method)
                else:
                    yield Made(row | {"error": f"{found.method.title} gives numbers that aren't finite"})


def _known(read: Read, question: str) -> Row:
    width, height = read.size or (None, None)
    return {
        "place": read.place, "picture": read.name, "content": read.content, "width": width, "height": height,
        "labels": None if read.labels is None else list(read.labels),
        "about": None if read.about is None else list(read.about.items()), "question": question,
    }  # fmt: skip


def _share(shares: NDArray[np.float32] | None, n: int, index: int) -> float | None:
    share = None if shares is None else float(shares[n, index])
    return share if share is not None and isfinite(share) else None


def _rank(values: NDArray[np.float32], index: int) -> int:
    """The place of a class, 0 the highest; of equals the lower index first."""
    return int((values > values[index]).sum() + (values[:index] == values[index]).sum())


def _mapped(raw: Tensor, framing: Framing) -> Row:
    """A raw map (h, w) as it is kept, and where its evidence lies in the picture."""
    cells = raw.numpy()
    scale = np.float32(np.abs(cells).max())
    parts = cells / scale if scale > 0 else np.zeros_like(cells)
    peak, box = located(raw, framing)
    return {
        "map": parts.astype(np.float16).ravel(), "map_height": cells.shape[0], "map_width": cells.shape[1],
        "scale": float(scale), "seen": list(framing.seen), "peak": peak, "box": box,
    }  # fmt: skip


def located(raw: Tensor, framing: Framing) -> tuple[tuple[int, int] | None, PixelBox | None]:
    """The peak of a map, and the box around its largest part, in the picture's pixels.

    In a picture of more than MOST_PIXELS they are found on a grid of so many places, whose cells are a few pixels.
    """
    width, height = framing.picture
    step = (width * height / MOST_PIXELS) ** 0.5
    if step <= 1:
        heat = framing.to_picture(raw).numpy()
        return regions.peak(heat), regions.box(heat, FRACTION)
    coarse = (max(1, int(width / step)), max(1, int(height / step)))
    peak, box = located(raw, scaled(framing, coarse))
    across, down = width / coarse[0], height / coarse[1]
    if peak is not None:
        peak = int((peak[0] + 0.5) * across), int((peak[1] + 0.5) * down)
    if box is not None:
        box = round(box[0] * across), round(box[1] * down), round(box[2] * across), round(box[3] * down)
    return peak, box


def scaled(framing: Framing, size: tuple[int, int]) -> Framing:
    """The same framing in the same picture of another size (width, height)."""
    across, down = size[0] / framing.picture[0], size[1] / framing.picture[1]
    x0, y0, x1, y1 = framing.seen
    return replace(framing, picture=size, seen=(x0 * across, y0 * down, x1 * across, y1 * down))
