"""The embedded nets: each is what its card says, small, and knows its scenes, and its maps show what is known of it."""

import json
from importlib import resources

import numpy as np
import pytest
import torch
from PIL.Image import Image

import sightline
from sightline.datasets.shapes import CLASSES, scene, shapes
from sightline.datasets.shortcut import shortcut
from sightline.evaluation import evaluate
from sightline.sources import bundled

SCENES = [name for name in bundled.names() if name != "photos"]


def answers(model: sightline.Model, pictures: list[Image]) -> torch.Tensor:
    with torch.inference_mode():
        return model.module(torch.stack([model.preprocess(picture) for picture in pictures]))


@pytest.mark.parametrize("name", bundled.names())
def test_a_net_is_what_its_card_says(name: str) -> None:
    model, card = sightline.load(name, device="cpu"), bundled.card(name)
    known = card["weights_hash"]
    assert model.weights_hash == (known[name] if isinstance(known, dict) else known)
    assert sum(p.numel() for p in model.module.parameters()) == card["parameters"]
    assert model.labels.names == tuple(row["name"] for row in card["classes"])
    assert [row["index"] for row in card["classes"]] == list(range(len(card["classes"])))
    assert (model.name, model.source, model.module.training) == (name, "bundled", False)
    assert {"what", "for", "training", "limits", "license", "figures"} <= card.keys()
    assert "command" in card["figures"]
    assert bundled.purpose(name) == card["for"]


@pytest.mark.parametrize("name", SCENES)
def test_a_net_of_scenes_says_that_it_knows_nothing_else(name: str) -> None:
    model = sightline.load(name, device="cpu")
    assert "generated" in model.note
    assert all(label in model.note for label in model.labels.names)
    assert model.multi_label == name.startswith("shapes")
    assert not model.labels.wnids


def test_files_are_small_and_the_default_is_for_photographs() -> None:
    folder = resources.files("sightline.bundled")
    for file in {*bundled.FILES.values()} - {"photos"}:
        assert len((folder / f"{file}.safetensors").read_bytes()) < 2_000_000
        assert json.loads((folder / f"{file}.json").read_text("utf-8"))["name"] == file
    assert sightline.load(device="cpu").name == bundled.DEFAULT == bundled.names()[0] == "photos"


def test_nets_that_share_a_file_have_weights_of_their_own() -> None:
    names = [name for name, file in bundled.FILES.items() if file == "shortcut"]
    assert len({sightline.load(name, device="cpu").weights_hash for name in names}) == len(names) == 12


def test_shapes_are_found_and_missed_when_they_are_taken_away() -> None:
    """What is true of the pictures is true of the model."""
    model = sightline.load("shapes", device="cpu")
    samples = list(shapes(60, seed=9))
    found = answers(model, [sample.picture for sample in samples]) > 0
    wanted = torch.tensor([[label in {t.label for t in sample.truths} for label in CLASSES] for sample in samples])
    assert (found == wanted).all(1).float().mean() > 0.9
    fell = []
    for place, sample in enumerate(samples[:20]):
        painting = scene(place, seed=9)
        before = answers(model, [sample.picture])[0]
        for truth in sample.truths:
            column = CLASSES.index(truth.label)
            fell.append(float(before[column] - answers(model, [painting.picture([truth.label])])[0, column]))
    assert np.mean(np.array(fell) > 0) > 0.95
    assert np.median(fell) > 4


def test_grad_cam_points_at_the_shapes() -> None:
    model = sightline.load("shapes", device="cpu")
    found = evaluate(model, shapes(40, seed=9), ["grad-cam"], ["pointing:tolerance=0:region=boxes", "energy"])
    for metric, least in (("pointing:tolerance=0:region=boxes", 85), ("energy", 18)):
        own = found["grad-cam"].figures[metric].value
        assert own is not None
        assert own > least
        assert own > 1.5 * max(row.figures[metric].value or 0 for row in found.rows if row.control)


def test_the_net_of_random_labels_has_other_maps() -> None:
    model, relabelled = (sightline.load(name, device="cpu") for name in ("shapes", "shapes-random-labels"))
    assert relabelled.labels == model.labels
    assert bundled.card("shapes-random-labels")["figures"]["the 200 training scenes"] == {
        "all wrong labels as taught": 1.0
    }
    row = evaluate(
        model, shapes(20), ["grad-cam"], ["label-randomisation"], controls=False, relabelled=relabelled
    )["grad-cam"]  # fmt: skip
    assert abs(row.figures["label-randomisation"].value or 1) < 0.3


def test_evidence_on_the_marker_grows_with_what_the_net_relies_on_it() -> None:
    """Drops of about 0, 0.2 and 1 when the marker is swapped."""
    told, swapped = (list(shortcut(60, rho=1, marker=marker)) for marker in ("as-trained", "swapped"))
    labels = [sample.truths[0].label for sample in told]
    drops, energies = [], []
    for name in ("shortcut-0-0", "shortcut-0.9-1", "shortcut-1-0"):
        model = sightline.load(name, device="cpu")
        right = [
            np.mean([model.labels[k] == label for k, label in zip(best, labels)])
            for best in (answers(model, [s.picture for s in samples]).argmax(1).tolist() for samples in (told, swapped))
        ]
        drops.append(right[0] - right[1])
        data = shortcut(30, rho=1, truth="marker")
        energies.append(evaluate(model, data, metrics=["energy"], controls=False)["grad-cam"].figures["energy"].value)
    assert drops[0] < 0.05 < drops[1] < 0.5 < drops[2]
    assert energies[0] * 2 < energies[1] < energies[2] / 1.3
    assert bundled.card("shortcut-1-0")["figures"]["Spearman of the energy on the marker"][
        "with the drop when swapped"
    ] == pytest.approx(0.9859)
