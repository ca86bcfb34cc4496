"""DiFull: LayerCAM and HiResCAM stay in the cell that a class sees, Grad-CAM leaks to about a cell's share."""

import numpy as np
import pytest
import torch

import sightline
from sightline.datasets.difull import TILE, Apart, DiFull, difull, net
from sightline.errors import DataError
from sightline.evaluation import evaluate

METHODS = ("layer-cam", "hires-cam", "grad-cam", "xgrad-cam")


@pytest.mark.parametrize("cells", [2, 3])
def test_a_class_sees_its_cell_and_nothing_else(cells: int) -> None:
    model = net(cells)
    side = cells * TILE
    images = torch.randn(1, 3, side, side)
    with torch.no_grad():
        before = model.module(images)
        for nth in range(cells**2):
            row, column = divmod(nth, cells)
            changed = images.clone()
            changed[..., row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE] += 1
            moved = (model.module(changed) - before)[0] != 0
            assert moved.tolist() == [k == nth for k in range(cells**2)]


def test_the_logits_by_hand() -> None:
    """An identity for a trunk: each logit is a head's weights on its cell's mean colour."""
    module = DiFull(2, torch.nn.Identity(), 3)
    images = torch.randn(2, 3, 6, 6)
    corners = [images[..., :3, :3], images[..., :3, 3:], images[..., 3:, :3], images[..., 3:, 3:]]
    for nth, (corner, head) in enumerate(zip(corners, module.heads)):
        expected = corner.mean((2, 3)) @ head.weight[0] + head.bias
        torch.testing.assert_close(module(images)[:, nth], expected)
    cells = Apart(torch.nn.AvgPool2d(3), 2)(images)
    torch.testing.assert_close(cells[..., 1, 0], corners[2].mean((2, 3)))


def test_methods_that_weigh_each_place_stay_inside_and_those_that_pool_leak() -> None:
    """The shares of protocols: 1 and 1, against about a quarter; over 20 random nets, with empty maps left out."""
    inside: dict[str, list[float]] = {name: [] for name in METHODS}
    empty = dict.fromkeys(METHODS, 0)
    for seed in range(20):
        found = evaluate(net(seed=seed), difull(1, seed=seed), METHODS, ["energy"], controls=False)
        for name in METHODS:
            row = found[name]
            empty[name] += row.empty
            if row.figures["energy"].value is not None:
                inside[name] += [row.figures["energy"].value] * row.figures["energy"].judged
                assert row.figures["energy"].left_out == row.empty
    shares = {name: np.mean(values) / 100 for name, values in inside.items()}
    assert shares["layer-cam"] == pytest.approx(1, abs=1e-6)
    assert shares["hires-cam"] == pytest.approx(1, abs=1e-6)
    assert shares["grad-cam"] == pytest.approx(0.25, abs=0.05)
    assert shares["xgrad-cam"] == pytest.approx(0.25, abs=0.05)
    assert empty["layer-cam"] <= empty["hires-cam"]
    assert 0 < empty["hires-cam"] < 40  # of 80: counting them as 0 would blame a method without a fault


def test_the_layer_is_chosen_at_the_images_own_resolution() -> None:
    model = net()
    why = sightline.explain(model, difull(1)[0].picture, "cell 3", method="layer-cam")
    assert why.layer == "features"
    assert why.maps.shape[-2:] == (64, 64)
    assert (why.maps[0, :32] == 0).all()
    assert (why.maps[0, :, 32:] == 0).all()


def test_weights_are_the_seeds_and_the_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert net(seed=1).weights_hash == net(seed=1).weights_hash != net(seed=2).weights_hash
    assert torch.equal(torch.get_rng_state(), before)


def test_the_import_path_is_a_model() -> None:
    model = sightline.load("sightline.datasets.difull:net", device="cpu")
    assert model.labels.names == ("cell 1", "cell 2", "cell 3", "cell 4")
    assert model.preprocess.size == (64, 64)
    assert "nothing but cell k" in model.note


@pytest.mark.parametrize("cells", [2, 3, 4])
def test_every_cell_is_true_in_every_picture(cells: int) -> None:
    for sample in difull(3, cells=cells):
        assert [truth.label for truth in sample.truths] == [f"cell {nth + 1}" for nth in range(cells**2)]
        assert np.sum([truth.mask for truth in sample.truths], axis=0).tolist() == [[1] * cells * TILE] * cells * TILE
        assert sample.picture.size == (cells * TILE, cells * TILE)
    assert (np.asarray(difull(1)[0].picture) == np.asarray(difull(5)[0].picture)).all()
    assert (np.asarray(difull(1)[0].picture) != np.asarray(difull(1, seed=1)[0].picture)).any()


def test_what_cant_be_drawn_is_refused() -> None:
    with pytest.raises(DataError, match="expected 64 or more"):
        difull(cells=1)
    with pytest.raises(DataError, match="no split"):
        difull(split="all")
