"""Measure the embedded photo net and write its card: python recipes/card.py --data SHARED_DATA_FOLDER.

Accuracy on `imagenette/val.npz`; accuracy and Grad-CAM pointing on the pictures with boxes in
`imagenet_val_boxes`, none of which is in a training set, through the public API. Without `--write`
it prints the card; with it, it becomes `src/sightline/bundled/photos.json`.
"""

import argparse
import csv
import io
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import sightline
from sightline.sources import bundled

CARD = Path(__file__).parents[1] / "src/sightline/bundled/photos.json"


def validation_accuracy(model: sightline.Model, file: Path) -> float:
    """Share of the npz's JPEG pictures whose first prediction is their label."""
    with np.load(file) as data:
        jpeg, offsets, labels = data["jpeg"].tobytes(), data["offsets"], data["labels"].tolist()
    pictures: list[Any] = [Image.open(io.BytesIO(jpeg[start:end])) for start, end in pairwise(offsets)]
    whys = sightline.explain(model, pictures)
    return float(np.mean([why.predictions[0].index == label for why, label in zip(whys, labels, strict=True)]))


def boxed(model: sightline.Model, folder: Path) -> dict[str, float]:
    """Accuracy, and how often the peak of the true class's Grad-CAM, or the picture's centre, lies in a box."""
    boxes: dict[str, list[dict[str, str]]] = defaultdict(list)
    with (folder / "boxes.csv").open() as file:
        for row in csv.DictReader(file):
            boxes[row["file"]].append(row)
    truth = [model.labels.wnids.index(rows[0]["wnid"]) for rows in boxes.values()]
    whys = sightline.explain(model, [str(folder / name) for name in boxes], truth)
    right, hits, centre = [], [], []
    for why, rows, label in zip(whys, boxes.values(), truth, strict=True):
        right.append(why.predictions[0].index == label)
        peak = why.peak()
        hits.append(peak is not None and _inside(rows, peak[0] + 0.5, peak[1] + 0.5))
        centre.append(_inside(rows, why.picture.width / 2, why.picture.height / 2))
    return {
        "pictures": len(right),
        "accuracy": round(float(np.mean(right)), 4),
        "pointing": round(float(np.mean(hits)), 4),
        "pointing of the centre": round(float(np.mean(centre)), 4),
    }


def _inside(rows: list[dict[str, str]], x: float, y: float) -> bool:
    return any(float(r["x0"]) <= x < float(r["x1"]) and float(r["y0"]) <= y < float(r["y1"]) for r in rows)


def main() -> None:
    """Print or write the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    model = sightline.load("photos", device="cpu")
    card = bundled.card("photos")
    card["figures"] = {
        "command": "python recipes/card.py --data SHARED_DATA_FOLDER",
        "imagenette/val.npz": {"accuracy": round(validation_accuracy(model, options.data / "imagenette/val.npz"), 4)},
        "imagenet_val_boxes": boxed(model, options.data / "imagenet_val_boxes"),
    }
    card["weights_hash"] = model.weights_hash
    card["parameters"] = sum(p.numel() for p in model.module.parameters())
    text = json.dumps(card, indent=2) + "\n"
    if options.write:
        CARD.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
