"""Real weights on real photographs, through the public API: the dog, the cat, and four hundred boxes."""

from pathlib import Path

import pytest
from card import boxed, validation_accuracy

import sightline
from sightline.sources import bundled


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


@pytest.mark.slow
def test_pointing_beats_the_centre_on_four_hundred_validation_pictures(data: Path) -> None:
    weights = data / "weights"
    model = sightline.load(
        "squeezenet1_1",
        weights=weights / "squeezenet1_1_imagenet.safetensors",
        labels=weights / "imagenet_classes.json",
        device="cpu",
    )
    figures = boxed(model, data / "imagenet_val_boxes")
    print(figures)
    assert figures["pictures"] == 400
    assert figures["accuracy"] == pytest.approx(0.56, abs=0.01)
    assert figures["pointing"] == pytest.approx(0.895, abs=0.01)
    assert figures["pointing of the centre"] == pytest.approx(0.79, abs=0.001)


@pytest.mark.slow
def test_the_embedded_net_keeps_its_cards_promise(data: Path) -> None:
    model = sightline.load("photos", device="cpu")
    promised = bundled.card("photos")["figures"]
    assert boxed(model, data / "imagenet_val_boxes") == pytest.approx(promised["imagenet_val_boxes"], abs=0.0051)
    accuracy = validation_accuracy(model, data / "imagenette/val.npz")
    assert accuracy == pytest.approx(promised["imagenette/val.npz"]["accuracy"], abs=0.0051)
    assert min(accuracy, promised["imagenet_val_boxes"]["accuracy"]) >= 0.9
    assert promised["imagenet_val_boxes"]["pointing"] >= 0.86
