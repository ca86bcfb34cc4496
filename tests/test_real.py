"""Real weights on real photographs, through the public API: the dog, the cat, and four hundred boxes."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

import sightline


@pytest.fixture(scope="module")
def squeezenet(data: Path) -> sightline.Model:
    return sightline.load("squeezenet1_1", weights=data / "weights/squeezenet1_1_imagenet.safetensors", device="cpu")


def cell(why: sightline.Explanation) -> tuple[int, int]:
    row, column = divmod(int(why.maps[0].argmax()), why.maps.shape[-1])
    return row, column


def test_the_dog_the_cat_and_what_speaks_against_the_dog(squeezenet: sightline.Model, data: Path) -> None:
    why = sightline.explain(squeezenet, data / "images/pgc_both.png", ["boxer", "tiger cat", "not:boxer"])
    assert why.layer == "features"
    assert why.maps.shape == (3, 13, 13)
    assert [cell(one) for one in why] == [(3, 6), (10, 9), (9, 9)]
    assert [(p.name, round(p.probability, 2)) for p in why.predictions[:2]] == [("bull mastiff", 0.62), ("boxer", 0.37)]
    dog, cat = (60, 40, 170, 130), (90, 120, 215, 224)  # drawn by eye
    for one, (x0, y0, x1, y1) in zip(why, (dog, cat, cat), strict=True):
        x, y = one.peak()
        assert x0 <= x < x1
        assert y0 <= y < y1


def pointing(model: sightline.Model, folder: Path) -> tuple[float, float]:
    """Share of pictures whose peak for the true class, and whose centre, lies in one of its boxes."""
    boxes = defaultdict(list)
    with (folder / "boxes.csv").open() as file:
        for row in csv.DictReader(file):
            boxes[row["file"]].append([float(row[key]) for key in ("x0", "y0", "x1", "y1")] + [row["wnid"]])
    truth = [model.labels.wnids.index(rows[0][4]) for rows in boxes.values()]
    whys = sightline.explain(model, [str(folder / name) for name in boxes], truth)
    hits, centre = [], []
    for why, rows in zip(whys, boxes.values(), strict=True):
        x, y = why.peak() or (-1, -1)
        hits.append(any(r[0] <= x + 0.5 < r[2] and r[1] <= y + 0.5 < r[3] for r in rows))
        centre.append(any(r[0] <= 112 < r[2] and r[1] <= 112 < r[3] for r in rows))
    return float(np.mean(hits)), float(np.mean(centre))


@pytest.mark.slow
def test_pointing_beats_the_centre_on_four_hundred_validation_pictures(data: Path) -> None:
    model = sightline.load(
        "squeezenet1_1",
        weights=data / "weights/squeezenet1_1_imagenet.safetensors",
        labels=data / "weights/imagenet_classes.json",
        device="cpu",
    )
    hits, centre = pointing(model, data / "imagenet_val_boxes")
    print(f"pointing {hits:.4f}, centre {centre:.4f}")
    assert hits == pytest.approx(0.895, abs=0.01)
    assert centre == pytest.approx(0.79, abs=0.001)


@pytest.mark.slow
def test_the_embedded_net_keeps_its_cards_promise(data: Path) -> None:
    model = sightline.load("photos", device="cpu")
    figures = sightline.sources.bundled.card("photos")["figures"]["imagenet_val_boxes"]
    hits, centre = pointing(model, data / "imagenet_val_boxes")
    assert hits == pytest.approx(figures["pointing"], abs=0.0051)
    assert centre == pytest.approx(figures["pointing of the centre"], abs=0.0001)
    assert figures["accuracy"] >= 0.9
    assert figures["pointing"] >= 0.86
