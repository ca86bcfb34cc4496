"""What the embedded detector is worth, measured through the public API; used by objects.py."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

import sightline
from sightline.datasets.shapes import CLASSES, shapes
from sightline.targets import Detection, box, detections
from sightline.targets.boxes import overlaps

TESTED, ASKED = 500, 200  # scenes
FOUND = 0.5  # intersection over union from which a box is where the object is
METHODS = "grad-cam", "hires-cam", "layer-cam"


def figures(model: sightline.Model) -> dict[str, Any]:
    """How well the shapes are found, and whether the map of a box is of that box and of no other."""
    samples = list(shapes(TESTED))
    images = torch.stack([model.preprocess(sample.picture) for sample in samples])
    with torch.inference_mode():
        found = [detections(model.module(part), share=0.01) for part in images.split(50)]
    found = [row for part in found for row in part]
    truths = [[(truth.boxes[0], CLASSES.index(truth.label)) for truth in sample.truths] for sample in samples]
    sure = [[each for each in row if each.share > 0.5] for row in found]
    right = sum(sum(hits(row, wanted)) for row, wanted in zip(sure, truths, strict=True))
    precision = [average_precision(found, truths, index) for index in range(len(CLASSES))]
    return {
        f"scenes:shapes:count={TESTED}": {
            "mean average precision, overlap 0.5": rounded(np.mean(precision)),
            "recall at share 0.5": rounded(right / sum(map(len, truths))),
            "precision at share 0.5": rounded(right / sum(map(len, sure))),
        },
        f"the map of a box, first {ASKED} scenes, two boxes or more": {
            method: specificity(model, images[:ASKED], sure[:ASKED], method) for method in METHODS
        },
    }


def hits(row: Sequence[Detection], wanted: Sequence[tuple[Any, int]]) -> list[bool]:
    """Whether each box, best first, is where an object of its class is that no better box has found."""
    left, told = list(wanted), []
    for each in row:
        fits = [
            of == each.index and float(overlaps(torch.tensor(each.box), torch.tensor(where))) >= FOUND
            for where, of in left
        ]
        told.append(any(fits))
        if any(fits):
            left.pop(fits.index(True))
    return told


def average_precision(
    found: Sequence[Sequence[Detection]], truths: Sequence[Sequence[tuple[Any, int]]], index: int
) -> float:
    """A class's area under precision, made to fall, over recall."""
    rows = [[each for each in row if each.index == index] for row in found]
    told = [
        (each.share, hit)
        for row, wanted in zip(rows, truths, strict=True)
        for each, hit in zip(row, hits(row, wanted), strict=True)
    ]
    right = np.array([hit for _, hit in sorted(told, reverse=True)], dtype=float).cumsum()
    precision = np.maximum.accumulate((right / np.arange(1, len(right) + 1))[::-1])[::-1]
    there = sum(of == index for wanted in truths for _, of in wanted)
    return float((np.diff(right, prepend=0) * precision).sum() / there)


def specificity(
    model: sightline.Model, images: Tensor, rows: Sequence[Sequence[Detection]], method: str, layer: Any = None
) -> dict[str, float]:
    """Mean shares of a map's energy in the box that it is asked about and in the others, and those of an even map."""
    numbers = []
    for image, row in zip(images, rows, strict=True):
        if len(row) < 2:
            continue
        for each in row:
            others = [other.box for other in row if other is not each]
            found = sightline.maps(
                model.module, image[None], box(each.box, each.index), layer=layer or model.layer, method=method
            )
            numbers.append(energies(found, each.box, others, (image.shape[1], image.shape[2])))
    own, other, area, others_area, first = np.mean(numbers, 0)
    return {
        "boxes": len(numbers), "in the box": rounded(own), "in the others": rounded(other),
        "an even map, in the box": rounded(area), "an even map, in the others": rounded(others_area),
        "highest in the box": rounded(first),
    }  # fmt: skip


def energies(
    found: Tensor, chosen: Sequence[float], others: Sequence[Sequence[float]], size: tuple[int, int]
) -> tuple[float, float, float, float, float]:
    """Shares of a map (1, h, w) in a box and in others outside it, their shares of the area, and a hit or none."""
    full = interpolate(found[None], size, mode="bilinear")[0, 0].clamp(min=0)
    inside = within(chosen, size)
    outside = torch.stack([within(other, size) for other in others]).any(0) & ~inside
    total = full.sum().clamp(min=1e-12)
    hit = inside.flatten()[full.argmax()]
    return (
        float(full[inside].sum() / total), float(full[outside].sum() / total),
        float(inside.float().mean()), float(outside.float().mean()), float(hit),
    )  # fmt: skip


def within(box: Sequence[float], size: tuple[int, int]) -> Tensor:
    """The pixels whose centre is in a box."""
    ys, xs = (torch.arange(length) + 0.5 for length in size)
    x0, y0, x1, y1 = box
    return ((ys >= y0) & (ys < y1))[:, None] & ((xs >= x0) & (xs < x1))


def rounded(number: Any) -> float:
    return round(float(number), 4)
