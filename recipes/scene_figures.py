"""What the embedded nets of generated scenes are worth, measured through the public API; used by scenes.py."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL.Image import Image, fromarray
from scene_pictures import FIXED, present, shuffled_shapes
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score
from torch import Tensor

import sightline
from sightline.datasets.grid import grid
from sightline.datasets.shapes import CLASSES, scene, shapes
from sightline.datasets.shortcut import shortcut
from sightline.evaluation.store import FILE
from sightline.sources import bundled
from sightline.trials import DataSet

TESTED, PLAYED = 500, 200  # scenes, grids
METRICS = ("pointing:tolerance=0", "pointing:tolerance=0:region=boxes", "energy")


def of_shapes() -> dict[str, Any]:
    """How well the shapes are found, and pointed at, and whether an object taken away is missed."""
    model = sightline.load("shapes", device="cpu")
    samples = list(shapes(TESTED))
    logits = answers(model, [sample.picture for sample in samples])
    wanted = present([truth.label for truth in sample.truths] for sample in samples)
    precision = [average_precision_score(wanted[:, k], logits[:, k]) for k in range(len(CLASSES))]
    grids = {f"scenes:grid:count={PLAYED}:cells={cells}": grid(PLAYED, cells=cells) for cells in (2, 3)}
    return {
        f"scenes:shapes:count={TESTED}": {
            "mean average precision": rounded(np.mean(precision)),
            "all classes right": rounded(((logits > 0) == (wanted > 0)).all(1).float().mean()),
            "an object taken away": without_object(model, logits),
            "Grad-CAM, and the centre, per class": per_class(model, shapes(TESTED)),
        },
        **{
            name: {"energy": energies(model, data), "energy of an even map": rounded(100 / len(data[0].truths))}
            for name, data in grids.items()
        },
    }


def without_object(model: sightline.Model, logits: Tensor) -> dict[str, float]:
    """What becomes of an object's logit and probability once it is taken out of the picture."""
    paintings = [scene(place) for place in range(TESTED)]
    asked = [(place, thing.name) for place, painting in enumerate(paintings) for thing in painting.things]
    after = answers(model, [paintings[place].picture([name]) for place, name in asked])
    columns = [CLASSES.index(name) for _, name in asked]
    before = logits[[place for place, _ in asked], columns]
    after = after[range(len(asked)), columns]
    return {
        "objects": len(asked),
        "its logit falls": rounded((after < before).float().mean()),
        "mean probability with it": rounded(before.sigmoid().mean()),
        "mean probability without it": rounded(after.sigmoid().mean()),
    }


def per_class(model: sightline.Model, data: DataSet) -> dict[str, Any]:
    """Each class's mean of each metric, in per cent, for Grad-CAM and for the centre, and those of all trials."""
    with tempfile.TemporaryDirectory() as folder:
        found = sightline.evaluate(model, data, ["grad-cam"], METRICS, folder=folder)
        lines = [json.loads(line) for line in (Path(folder) / FILE).read_text().splitlines()[1:]]
    table: dict[str, Any] = {}
    for label in ("all", *CLASSES):
        table[label] = {}
        for row in ("grad-cam", "centre"):
            for metric in METRICS:
                values = [
                    numbers[0]
                    for line in lines
                    for name, numbers in line["rows"][row]["values"][metric]
                    if numbers is not None and label in ("all", name)
                ]
                table[label][f"{row} {metric}"] = rounded(100 * np.mean(values))
    return table | {"maps that are empty": found["grad-cam"].empty, "of": found["grad-cam"].maps}


def of_random_labels() -> dict[str, Any]:
    """How well the random labels are known by heart, and how alike the maps of this net and of `shapes` are."""
    model = sightline.load("shapes-random-labels", device="cpu")
    pictures, wanted = shuffled_shapes()
    logits = answers(model, [fromarray(each.permute(1, 2, 0).numpy()) for each in pictures])
    true = sightline.load("shapes", device="cpu")
    found = sightline.evaluate(
        true, shapes(100), ["grad-cam", "guided-backprop"], ["label-randomisation"], controls=False, relabelled=model
    )
    return {
        f"the {FIXED} training scenes": {
            "all wrong labels as taught": rounded(((logits > 0) == (wanted > 0)).all(1).float().mean())
        },
        "scenes:shapes:count=100": {
            f"rank correlation with shapes, {row.name}": rounded(row.figures["label-randomisation"].value)
            for row in found.rows
        },
    }


def of_shortcut() -> dict[str, Any]:
    """Per net its answers with the marker as it goes with the label, swapped and absent, and its evidence on it.

    All nets see the same scenes, whose markers always go with the label (rho=1), or never.
    """
    names = [name for name, file in bundled.FILES.items() if file == "shortcut"]
    sets = {marker: list(shortcut(TESTED, rho=1, marker=marker)) for marker in ("as-trained", "swapped", "absent")}
    nets: dict[str, dict[str, float]] = {}
    for name in names:
        model = sightline.load(name, device="cpu")
        rho = float(name.split("-")[1])
        right = {marker: accuracy(model, samples) for marker, samples in sets.items()}
        nets[name] = {
            "rho": rho,
            "accuracy, marker as in its training": accuracy(model, list(shortcut(TESTED, rho=rho))),
            "accuracy, marker tells": right["as-trained"],
            "accuracy, marker swapped": right["swapped"],
            "accuracy, marker absent": right["absent"],
            "drop when swapped": rounded(right["as-trained"] - right["swapped"]),
            "energy on the marker": energies(model, shortcut(PLAYED, rho=1, truth="marker")),
            "energy on the object": energies(model, shortcut(PLAYED, rho=1)),
        }
    on_marker, dropped, rhos = (
        [net[key] for net in nets.values()] for key in ("energy on the marker", "drop when swapped", "rho")
    )
    share = np.mean([sample.truths[0].mask.mean() for sample in shortcut(PLAYED, rho=1, truth="marker")])  # type: ignore[union-attr]
    return {
        f"scenes:shortcut:count={TESTED}:rho=1": nets,
        "energy on the marker of an even map": rounded(100 * share),
        "Spearman of the energy on the marker": {
            "with the drop when swapped": rounded(spearmanr(on_marker, dropped).statistic),
            "with rho": rounded(spearmanr(on_marker, rhos).statistic),
        },
    }


def answers(model: sightline.Model, pictures: Sequence[Image]) -> Tensor:
    """Logits (n, classes) of pictures."""
    with torch.inference_mode():
        parts = [pictures[start : start + 50] for start in range(0, len(pictures), 50)]
        return torch.cat([model.module(torch.stack([model.preprocess(each) for each in part])) for part in parts])


def accuracy(model: sightline.Model, samples: Sequence[Any]) -> float:
    """Share of pictures whose highest logit is that of the one class in them."""
    best = answers(model, [sample.picture for sample in samples]).argmax(1).tolist()
    return rounded(np.mean([model.labels[k] == each.truths[0].label for k, each in zip(best, samples, strict=True)]))


def energies(model: sightline.Model, data: DataSet) -> float:
    """Grad-CAM's energy on the truths, in per cent."""
    found = sightline.evaluate(model, data, ["grad-cam"], ["energy"], controls=False)
    return rounded(found["grad-cam"].figures["energy"].value)


def rounded(value: Any) -> float:
    """Four digits behind the point are enough."""
    return round(float(value), 4)
