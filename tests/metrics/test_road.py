"""ROAD by hand, its budgets by count, and beside pytorch-grad-cam's where percentiles are right and where not."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from linear import linear, noise
from torch import Tensor
from torch.testing import assert_close
from toys import Toy

from sightline.errors import MetricError
from sightline.metrics.imputation import imputed
from sightline.metrics.road import by_budget, combined, lerf, morf, road


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    file = import_module("sightline.metrics.road")  # the package has the function by that name
    monkeypatch.setattr(file, "NOISE", 0)


def crossed(images: Tensor) -> Tensor:
    """Two classes whose logits are no sum over pixels."""
    small = images.flatten(1)[:, ::7]
    return 3 * torch.stack([small.abs().prod(1).log().tanh(), small.std(1)], 1)


def mixed(images: Tensor) -> Tensor:
    """Three classes, each the mean of every third value."""
    return torch.stack([9 * images.flatten(1)[:, at::3].mean(1) for at in range(3)], 1)


class Watched(Toy):
    """Keeps the images that the model was shown."""

    def logits(self, images: Tensor) -> Tensor:
        self.shown = [*getattr(self, "shown", []), images]
        return self.module(images)

    def confidence(self, images: Tensor) -> Tensor:
        return self.logits(images).softmax(1)[:, self.index]

    def changed(self) -> Tensor:
        """Which pixels (m, H, W) differ from the image's."""
        return (torch.cat(self.shown) != self.image).any(1)


@pytest.mark.usefixtures("quiet")
def test_by_hand() -> None:
    """Of 2 x 2 pixels one is the mean of the others: two fifths of each beside it, a fifth of the one across."""
    image = torch.tensor([[[3.0, 1.0], [2.0, -2.0]]])
    trial = linear(torch.tensor([[[1.0, 0.5], [0.5, 1.0]]]), image, torch.tensor([[4.0, 2.0], [3.0, 1.0]]))
    found = road(trial, steps=4)
    highest = 0.4 * 1 + 0.4 * 2 + 0.2 * -2  # in the place of the 3
    lowest = 0.4 * 1 + 0.4 * 2 + 0.2 * 3  # in the place of the -2
    assert found is not None
    assert found[0] == pytest.approx(1 / (1 + np.exp(-(highest + 1.5 - 2))), abs=1e-5)
    assert found[3] == pytest.approx(1 / (1 + np.exp(-(3 + 1.5 + lowest))), abs=1e-5)
    assert found[2] == pytest.approx(1 / (1 + np.exp(6)), abs=1e-5)  # all are what is left, -2, weighed by 3
    assert found[5] == pytest.approx(1 / (1 + np.exp(-9)), abs=1e-5)  # and 3


def test_budgets_are_counts_in_the_maps_order() -> None:
    """Of 60 pixels 6, 12, ... 54, the highest first and then the lowest first; all that is left is untouched."""
    raw = noise(1, 6, 10)
    trial = Watched(raw, image=noise(0, 3, 6, 10), module=crossed)
    road(trial)
    changed, ranks = trial.changed().flatten(1), raw.flatten().argsort(descending=True)
    assert [len(part) for part in trial.shown] == [16, 2]
    for step in range(1, 10):
        assert set(changed[step - 1].nonzero()[:, 0].tolist()) == set(ranks[: 6 * step].tolist())
        assert set(changed[8 + step].nonzero()[:, 0].tolist()) == set(ranks[60 - 6 * step :].tolist())


def test_removed_pixels_are_imputed_with_a_little_noise() -> None:
    raw, image = noise(1, 40, 40), noise(0, 3, 40, 40)
    trial = Watched(raw, image=image)
    road(trial, steps=2)
    hole = trial.changed()[0]
    differences = (trial.shown[0][0] - imputed(image, hole))[:, hole]
    assert differences.std() == pytest.approx(0.01, rel=0.1)
    assert differences.mean() == pytest.approx(0, abs=0.001)
    assert len(differences.unique()) > 2000


def test_the_same_seed_the_same_noise() -> None:
    trials = [Watched(torch.ones(6, 6), image=noise(0, 3, 6, 6), seed=seed) for seed in (0, 0, 1)]
    first, second, third = (road(trial) for trial in trials)
    assert first == second
    assert first != third
    assert torch.equal(trials[0].shown[0], trials[1].shown[0])


@pytest.mark.usefixtures("quiet")
def test_limits() -> None:
    """The inverted map has the opposite figure, and an even one about none."""

    def figure(raw: Tensor, seed: int = 0) -> float:
        found = road(Toy(raw, image=image, module=module, seed=seed), steps=5)
        assert found is not None
        return combined(np.array([found]), ["thing"])

    image = torch.zeros(3, 20, 20)
    image[:, 5:11, 6:12] = 1
    raw = noise(1, 20, 20).abs() + 5 * image[0]

    def module(images: Tensor) -> Tensor:
        score = 10 * images[:, :, 5:11, 6:12].mean((1, 2, 3)) - 5
        return torch.stack([score, -score], 1)

    assert figure(raw) > 0.3
    assert figure(-raw) == pytest.approx(-figure(raw), abs=1e-6)
    assert abs(np.mean([figure(torch.ones(20, 20), seed) for seed in range(6)])) < 0.1


def test_a_map_of_zeros_cant_be_judged() -> None:
    assert road(Toy(torch.zeros(4, 4))) is None
    assert road(Toy(-torch.ones(4, 4))) is not None


def test_accuracy_is_whether_the_class_is_the_one_predicted() -> None:
    trial = Watched(noise(1, 6, 6), image=noise(3, 3, 6, 6), module=mixed, index=1)
    found = road(trial, measure="accuracy")
    expected = [float(logits.argmax() == 1) for logits in mixed(torch.cat(trial.shown))]
    assert found == tuple(expected)
    assert 0 < sum(expected) < 18


def test_figures_and_curve_by_hand() -> None:
    values = np.array([[0.1, 0.3, 0.9, 0.7], [0.3, 0.1, 0.5, 0.3]])
    assert morf(values, ["a", "b"]) == pytest.approx(0.2)
    assert lerf(values, ["a", "b"]) == pytest.approx(0.6)
    assert combined(values, ["a", "b"]) == pytest.approx(0.2)
    assert by_budget(values, ["a", "b"]) == pytest.approx(np.array([[1 / 3, 0.2, 0.7], [2 / 3, 0.2, 0.5]]))


@pytest.mark.parametrize(("option", "value"), [("steps", 1), ("measure", "logit")])
def test_refuses_other_options(option: str, value: Any) -> None:
    with pytest.raises(MetricError, match=rf"takes 2 steps or more and a measure of .* got .*{option}={value}"):
        road(Toy(noise(0, 4, 4)), **{option: value})


@pytest.mark.filterwarnings("ignore:__array_wrap__")  # theirs, of numpy 2
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("seed", range(3))
def test_equals_pytorch_grad_cams_where_percentiles_are_right(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 100 pixels without ties, the p-th percentile lies above p of them."""
    peer = pytest.importorskip("pytorch_grad_cam.metrics.road", reason="pytorch-grad-cam isn't installed")
    target = pytest.importorskip("pytorch_grad_cam.utils.model_targets").ClassifierOutputSoftmaxTarget
    image, raw = noise(seed, 3, 10, 10), noise(seed + 20, 10, 10).sigmoid()

    class Quiet(peer.NoisyLinearImputer):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(noise=0)

    monkeypatch.setattr(peer, "NoisyLinearImputer", Quiet)
    theirs = peer.ROADCombined()(image[None], raw.numpy()[None], [target(2)], mixed)
    found = road(Toy(raw, index=2, image=image, module=mixed))
    assert found is not None
    assert combined(np.array([found]), ["thing"]) == pytest.approx(float(theirs[0]), abs=1e-5)


def test_pytorch_grad_cam_removes_the_whole_image_where_a_map_is_mostly_zero() -> None:
    """Of a map with 60 % zeros, half of the pixels are half of the pixels."""
    peer = pytest.importorskip("pytorch_grad_cam.metrics.perturbation_confidence", reason="no pytorch-grad-cam")
    raw = noise(1, 10, 10).sigmoid()
    raw[:6] = 0
    image = noise(0, 3, 10, 10)

    def share_removed(kept: Tensor) -> float:
        return 1 - float(kept.mean())

    theirs = {}
    for name, remove in (("MoRF", peer.RemoveMostRelevantFirst), ("LeRF", peer.RemoveLeastRelevantFirst)):
        theirs[name] = [remove(p, lambda _, kept: share_removed(kept))(image, raw) for p in range(10, 100, 10)]
    assert theirs["MoRF"][:5] == [1] * 5
    assert min(theirs["LeRF"]) == pytest.approx(0.6)
    trial = Watched(raw, image=image)
    road(trial)
    ours = trial.changed().float().mean((1, 2))
    assert_close(ours, torch.arange(1, 10).repeat(2) / 10)
    zeros = trial.changed()[:, :6].sum((1, 2))
    assert zeros[:4].tolist() == [0] * 4  # the 40 that are not zero go first, or last
    assert zeros[9:15].tolist() == [10, 20, 30, 40, 50, 60]
