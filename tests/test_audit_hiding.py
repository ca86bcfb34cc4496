"""Hiding regions: what is filled, what is hidden elsewhere, and the drops of a model of which all is known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hand_runs import kept, marks, row
from PIL import Image
from torch import Tensor, nn

import sightline
from sightline.audit import audit
from sightline.audit.hiding import elsewhere, without
from sightline.metrics.imputation import imputed
from sightline.preprocess import Preprocess
from sightline.trials import Sample, Truth


def test_what_is_hidden_is_filled_from_around_it_and_the_rest_stays() -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    hidden = np.zeros((40, 30), dtype=bool)
    hidden[5:20, 0:12] = True
    hidden[10, 3] = False
    found = np.asarray(without(Image.fromarray(pixels), hidden))
    whole = imputed(torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1), torch.from_numpy(hidden))
    assert (found[~hidden] == pixels[~hidden]).all()
    assert np.abs(found - 255 * whole.permute(1, 2, 0).numpy()).max() <= 0.6  # rounded; only the part was solved


def test_an_even_surrounding_fills_evenly() -> None:
    pixels = np.full((20, 20, 3), (10, 200, 90), dtype=np.uint8)
    pixels[8:12, 8:12] = (255, 0, 0)
    hidden = np.zeros((20, 20), dtype=bool)
    hidden[8:12, 8:12] = True
    assert (np.asarray(without(Image.fromarray(pixels), hidden)) == (10, 200, 90)).all()


def test_elsewhere_has_the_same_shape_and_touches_nothing_taken() -> None:
    region = np.zeros((20, 30), dtype=bool)
    region[2:6, 3:8] = True
    region[2, 3] = False
    taken = region.copy()
    taken[10:, :] = True
    for seed in range(20):
        found = elsewhere(region, taken, np.random.default_rng(seed))
        assert found is not None
        assert not (found & taken).any()
        ys, xs = np.nonzero(found)
        back = np.nonzero(region)
        assert (ys - ys.min() == back[0] - back[0].min()).all()
        assert (xs - xs.min() == back[1] - back[1].min()).all()
    again = [elsewhere(region, taken, np.random.default_rng(3)) for _ in range(2)]
    assert again[0] is not None
    assert again[1] is not None
    assert (again[0] == again[1]).all()
    assert elsewhere(region, np.ones_like(region), np.random.default_rng(0)) is None


class Corner(nn.Module):
    """Two classes; how bright the upper left 4 x 4 pixels are speaks for the first, by a fixed weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, images: Tensor) -> Tensor:
        bright = self.weight * images[:, :, :4, :4].mean((1, 2, 3))
        return torch.stack([bright, torch.zeros_like(bright)], 1)


def test_the_drop_is_the_models_own(tmp_path: Path) -> None:
    plain = Preprocess(size=(16, 16), fit="squash", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    model = sightline.wrap(Corner(4.0), preprocess=plain, labels=["a", "b"])
    names = [f"p{n}" for n in range(12)]
    corner = Truth("spot", boxes=((0, 0, 4, 4),))
    data = marks({name: [] for name in names}, (16, 16))

    def read(name: str, entry: object) -> object:
        pixels = np.zeros((16, 16, 3), dtype=np.uint8)
        pixels[:4, :4] = 255
        return Sample(name, Image.fromarray(pixels), ())

    object.__setattr__(data, "read", read)
    heat = np.zeros((16, 16))
    heat[:4, :4] = 1
    rows = [row(name, heat, place=n) for n, name in enumerate(names)]
    run = kept(tmp_path, rows, data, weights=model.weights_hash)
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    found = audit(run, suspects={"spot": marks({name: [corner] for name in names}, (16, 16))}, model=model)
    one = found["a"]
    (hidden,) = one.hidden
    lost = 1 / (1 + np.exp(-4.0)) - 0.5  # the corner becomes as black as its surroundings
    assert hidden.drop.value == pytest.approx(lost, abs=2e-3)
    assert hidden.elsewhere_drop.value == pytest.approx(0, abs=1e-6)
    assert hidden.beyond.value == pytest.approx(lost, abs=2e-3)
    assert (hidden.flips.value, hidden.elsewhere_flips.value) == (0, 0)  # of equals the first is predicted
    assert hidden.moved.value == pytest.approx(lost, abs=2e-3)
    assert hidden.on_object.value is None
    assert hidden.beyond.count == 12
    assert one.verdict.blamed == ("spot",)
    assert all(value.equal(before[name]) for name, value in model.module.state_dict().items())


def test_how_much_of_what_is_hidden_is_the_object(tmp_path: Path) -> None:
    plain = Preprocess(size=(16, 16), fit="squash", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    model = sightline.wrap(Corner(4.0), preprocess=plain, labels=["a", "b"])
    object_, mark = Truth("a", boxes=((0, 0, 3, 4),)), Truth("spot", boxes=((0, 0, 4, 4),))
    names = [f"p{n}" for n in range(12)]
    data = marks({name: [object_] for name in names}, (16, 16))
    rows = [row(name, np.ones((16, 16)), place=n, asked="not:a", target="against a") for n, name in enumerate(names)]
    run = kept(tmp_path, rows, data, weights=model.weights_hash)
    one = audit(run, suspects={"spot": marks({name: [mark] for name in names}, (16, 16))}, model=model)["against a"]
    spot = next(each for each in one.hidden if each.region.name == "spot")
    assert spot.on_object.value == 0.75
    assert "Most of it lies on the object" in one.verdict.words
    assert "the probability of a moves" in one.verdict.words  # the class's own name, of which the probability is
