"""Infidelity where it is known, against captum's given the same perturbations, and at its limits."""

import math
from collections import Counter
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from linear import linear, noise
from torch import Tensor
from toys import Toy

from sightline.errors import MetricError
from sightline.metrics.infidelity import error, infidelity, squares, unexplained

file = import_module("sightline.metrics.infidelity")  # the package has the function by that name

IMAGE, WEIGHTS = noise(0, 3, 12, 14), noise(1, 3, 12, 14)
both = pytest.mark.parametrize("perturbation", ["squares", "noise"])


def curved(images: Tensor) -> Tensor:
    score = images.flatten(1).square().cumsum(1)[:, ::5].sin().sum(1)
    return torch.stack([score, -score], 1)


def told(raw: Tensor, **options: Any) -> tuple[float, float]:
    found = infidelity(Toy(raw, image=IMAGE, module=curved), **options)
    assert found is not None
    return found


# The sum.


def test_by_hand() -> None:
    """Beta is (1 * 2 + 2 * 1 - 1 * 1) / 6: half of what was said."""
    said, lost = torch.tensor([1.0, 2, -1]), torch.tensor([2.0, 1, 1])
    assert error(said, lost, scaled=False) == pytest.approx(((1 + 1 + 4) / 3, 1))
    assert error(said, lost, scaled=True) == pytest.approx(((1.5**2 + 0 + 1.5**2) / 3, 4.5 / 6))


def test_no_other_scale_fits_better() -> None:
    said, lost = noise(0, 50).double(), noise(1, 50).double()
    best = error(said, lost, scaled=True)
    beta = float((said * lost).sum() / (said * said).sum())
    assert best == pytest.approx(error(beta * said, lost, scaled=False))
    for factor in (0.9, 1.1):
        other = error(factor * beta * said, lost, scaled=False)
        assert best is not None
        assert other is not None
        assert best[0] < other[0]


def test_the_share_that_is_left_is_1_less_the_squared_cosine() -> None:
    said, lost = noise(0, 50).double(), noise(1, 50).double()
    found = error(said, lost, scaled=True)
    assert found is not None
    assert found[1] == pytest.approx(1 - float(torch.cosine_similarity(said, lost, 0)) ** 2)


# The metric.


@both
def test_a_linear_models_contributions_get_0(perturbation: str) -> None:
    options: dict[str, Any] = {"perturbation": perturbation, "samples": 40}
    own = (WEIGHTS * IMAGE).sum(0)
    for scaled in (True, False):
        found = infidelity(linear(WEIGHTS, IMAGE), scaled=scaled, **options)
        assert found == pytest.approx((0, 0), abs=1e-8)
    for factor in (5, 1e-3, -1):
        assert infidelity(linear(WEIGHTS, IMAGE, factor * own), **options) == pytest.approx((0, 0), abs=1e-8)
    twice = infidelity(linear(WEIGHTS, IMAGE, 2 * own), scaled=False, **options)
    assert twice is not None
    assert twice[1] == pytest.approx(1, abs=1e-5)
    inverted = infidelity(linear(WEIGHTS, IMAGE, -own), scaled=False, **options)
    assert inverted is not None
    assert inverted[1] == pytest.approx(4, abs=1e-5)


@both
def test_from_another_fill_the_contributions_are_the_way_from_there(perturbation: str) -> None:
    class Dark(Toy):
        def colour(self, red: float, green: float, blue: float) -> Tensor:
            return super().colour(red, green, blue) - 2

    trial = Dark((WEIGHTS * (IMAGE + 2)).sum(0), image=IMAGE, module=linear(WEIGHTS, IMAGE).module)
    assert infidelity(trial, perturbation=perturbation, fill="black") == pytest.approx((0, 0), abs=1e-7)
    other = infidelity(trial, perturbation=perturbation)
    assert other is not None
    assert other[1] > 0.01


@pytest.mark.parametrize("scaled", [True, False])
@both
def test_equals_captums(perturbation: str, scaled: bool) -> None:
    """captum, given the same draws, the map shared out evenly among the channels."""
    metrics = pytest.importorskip("captum.metrics", reason="captum isn't installed")
    trial = Toy(noise(2, 12, 14), image=IMAGE, module=curved)
    generator, left = trial.generator(), [32, 18]

    def perturbed(images: Tensor) -> tuple[Tensor, Tensor]:
        count = left.pop(0)
        assert len(images) == count
        shares = getattr(file, perturbation)(count, (12, 14), generator)[:, None].float().expand(-1, 3, -1, -1)
        return shares, images - shares * images

    with torch.no_grad():
        theirs = metrics.infidelity(
            curved, perturbed, IMAGE[None], trial.raw.expand(1, 3, -1, -1) / 3, target=0,
            n_perturb_samples=50, max_examples_per_batch=32, normalize=scaled,
        )  # fmt: skip
    found = infidelity(trial, perturbation=perturbation, samples=50, scaled=scaled)
    assert found is not None
    assert found[0] == pytest.approx(float(theirs), rel=1e-4)


def test_noise_as_a_map_explains_little_and_scale_doesnt_matter() -> None:
    raw = noise(2, 12, 14)
    plain = told(raw)
    assert 0.7 < plain[1] <= 1
    assert told(1000 * raw) == pytest.approx(plain)
    assert told(-raw) == pytest.approx(plain)
    assert told(1000 * raw, scaled=False)[0] > 1000 * plain[0]


def test_the_seed_draws_the_perturbations() -> None:
    found = [infidelity(Toy(noise(2, 12, 14), image=IMAGE, module=curved, seed=seed)) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_as_many_samples_as_told_in_parts() -> None:
    sizes: list[int] = []

    def counted(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return curved(images)

    infidelity(Toy(noise(2, 12, 14), image=IMAGE, module=counted), samples=70)
    assert sizes == [1, 32, 32, 6]


def test_what_cant_be_judged() -> None:
    assert infidelity(Toy(torch.zeros(3, 3), image=IMAGE, module=curved)) is None
    assert infidelity(Toy(noise(2, 3, 3), image=IMAGE, module=lambda images: 0 * images.flatten(1)[:, :2])) is None
    assert infidelity(Toy(torch.ones(3, 3), image=IMAGE, module=curved)) is not None


def test_the_figure_of_what_is_unexplained() -> None:
    assert unexplained(np.array([[5.0, 0.25], [1.0, 0.75]]), ["a", "b"]) == 0.5


# The perturbations.


def test_every_square_that_fits_is_as_likely() -> None:
    """Of 6 x 8 pixels, sides of 1 and 2: 48 and 35 of them."""
    masks = squares(8300, (6, 8), torch.Generator().manual_seed(0))
    found = Counter(tuple(mask.nonzero().flatten().tolist()) for mask in masks)
    every = set()
    for side in (1, 2):
        for y in range(6 - side + 1):
            for x in range(8 - side + 1):
                mask = torch.zeros(6, 8)
                mask[y : y + side, x : x + side] = 1
                every.add(tuple(mask.nonzero().flatten().tolist()))
    assert set(found) == every
    assert len(every) == 83
    assert all(50 < count < 150 for count in found.values())


def test_squares_reach_10_of_28_pixels() -> None:
    masks = squares(500, (28, 40), torch.Generator().manual_seed(0))
    assert {math.isqrt(int(mask.sum())) for mask in masks} == set(range(1, 11))
    assert squares(3, (1, 2), torch.Generator()).sum((1, 2)).tolist() == [1, 1, 1]


def test_noise_is_a_share_per_pixel() -> None:
    shares = file.noise(40, (20, 30), torch.Generator().manual_seed(0))
    assert shares.shape == (40, 20, 30)
    assert shares.std() == pytest.approx(0.2, rel=0.02)
    assert shares.mean() == pytest.approx(0, abs=0.005)


@pytest.mark.parametrize(("option", "value"), [("perturbation", "circles"), ("samples", 0)])
def test_refuses_other_options(option: str, value: Any) -> None:
    with pytest.raises(MetricError, match=rf"perturbations of squares or noise and 1 sample.* got .*{option}={value}"):
        infidelity(Toy(noise(0, 4, 4), image=IMAGE), **{option: value})
