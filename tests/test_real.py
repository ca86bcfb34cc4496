"""Real weights on real photographs, through the public API: the dog, the cat, and four hundred boxes."""

from pathlib import Path

import numpy as np
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


DOG, CAT = (78, 12, 165, 147), (44, 118, 200, 224)  # around the animals, drawn by eye
POINTS = (
    "grad-cam", "xgrad-cam", "hires-cam", "shapley-cam", "deep-feature-factorization", "saliency", "input-x-gradient",
    "integrated-gradients", "guided-grad-cam", "full-grad", "excitation-backprop", "lrp-epsilon", "lrp-z-plus",
    "lrp-epsilon-plus-flat", "recipro-cam", "occlusion:stride=16", "rise:masks=400",
)  # fmt: skip
LEANS = (
    "grad-cam++", "smooth-grad-cam++", "layer-cam", "fused-layer-cam", "refine-cam", "eigen-grad-cam", "c-mwp",
    "guided-backprop", "lrp-gamma", "ablation-cam",
)  # fmt: skip
TELLS_LITTLE = ("eigen-cam", "kpca-cam", "fem", "smooth-grad", "var-grad", "deconvnet")


def inside(point: tuple[int, int] | None, box: tuple[int, int, int, int]) -> bool:
    return point is not None and box[0] <= point[0] < box[2] and box[1] <= point[1] < box[3]


def cat_to_dog(why: sightline.Explanation) -> float:
    """The evidence inside the cat's box in that inside the dog's."""
    heat = why.heat.clip(min=0)
    cat, dog = (float(heat[y0:y1, x0:x1].sum()) for x0, y0, x1, y1 in (CAT, DOG))
    return cat / dog


@pytest.mark.parametrize("method", POINTS)
def test_methods_point_at_the_animal_that_was_asked_about(squeezenet: sightline.Model, data: Path, method: str) -> None:
    why = sightline.explain(squeezenet, data / "images/pgc_both.png", ["boxer", "tiger cat"], method=method)
    assert inside(why["boxer"].peak(), DOG)
    assert inside(why["tiger cat"].peak(), CAT)
    assert cat_to_dog(why["tiger cat"]) > 1.5 * cat_to_dog(why["boxer"])


@pytest.mark.parametrize("method", LEANS)
def test_methods_that_peak_on_the_dog_still_lean_to_the_cat(
    squeezenet: sightline.Model, data: Path, method: str
) -> None:
    """The dog fills the score of "tiger cat" too (0.3 %), and these methods peak there whatever is asked."""
    why = sightline.explain(squeezenet, data / "images/pgc_both.png", ["boxer", "tiger cat"], method=method)
    assert inside(why["boxer"].peak(), DOG)
    assert cat_to_dog(why["tiger cat"]) > 1.5 * cat_to_dog(why["boxer"])


@pytest.mark.parametrize("method", TELLS_LITTLE)
def test_methods_that_hardly_tell_the_dog_from_the_cat(squeezenet: sightline.Model, data: Path, method: str) -> None:
    """Worth knowing before one believes their pictures; those that say so give the same map."""
    why = sightline.explain(squeezenet, data / "images/pgc_both.png", ["boxer", "tiger cat"], method=method)
    ratio = cat_to_dog(why["tiger cat"]) / cat_to_dog(why["boxer"])
    assert 0.8 < ratio < 1.25
    if not sightline.methods.method(method).discriminative:
        assert ratio == 1


def test_guided_backprop_does_not_discriminate_and_guided_grad_cam_does(
    squeezenet: sightline.Model, data: Path
) -> None:
    """The paper's figure: guided backprop's strongest pixel is the same for both, the product's is on each animal."""
    picture = data / "images/pgc_both.png"
    for method, apart in (("guided-backprop", False), ("deconvnet", False), ("guided-grad-cam", True)):
        dog, cat = sightline.explain(squeezenet, picture, ["boxer", "tiger cat"], method=method)
        assert (dog.peak() != cat.peak()) == apart
        assert (np.corrcoef(dog.heat.ravel(), cat.heat.ravel())[0, 1] < 0.9) == apart


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
