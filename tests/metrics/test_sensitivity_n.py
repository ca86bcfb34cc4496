"""Sensitivity-n where it is known: linear models; by hand from what the model was shown; and at its limits."""

from typing import Any

import numpy as np
import pytest
import torch
from linear import linear, noise
from torch import Tensor
from torch.nn.functional import interpolate
from toys import Toy

from sightline.errors import MetricError
from sightline.metrics.sensitivity_n import by_size, over_sizes, sensitivity_n

IMAGE, WEIGHTS = noise(0, 3, 12, 12), noise(1, 3, 12, 12)


class Watched(Toy):
    """Keeps the images whose scores were asked."""

    def scores(self, images: Tensor) -> Tensor:
        self.shown = [*getattr(self, "shown", []), images]
        return super().scores(images)


def curved(images: Tensor) -> Tensor:
    score = images.flatten(1).square().cumsum(1)[:, ::5].sin().sum(1)
    return torch.stack([score, -score], 1)


@pytest.mark.parametrize("cells", [2, 5, 12])
def test_a_linear_models_contributions_get_1(cells: int) -> None:
    """Also of cells that don't tile the image evenly, and for every n."""
    options: dict[str, Any] = {"cells": cells, "steps": 2, "subsets": 6}
    found = sensitivity_n(linear(WEIGHTS, IMAGE), **options)
    assert found == pytest.approx((1, 1), abs=1e-6)
    own = (WEIGHTS * IMAGE).sum(0)
    assert sensitivity_n(linear(WEIGHTS, IMAGE, 7 * own), **options) == pytest.approx((1, 1), abs=1e-6)
    assert sensitivity_n(linear(WEIGHTS, IMAGE, -own), **options) == pytest.approx((-1, -1), abs=1e-6)


def test_from_another_fill_the_contributions_are_the_way_from_there() -> None:
    class Dark(Toy):
        def colour(self, red: float, green: float, blue: float) -> Tensor:
            return super().colour(red, green, blue) - 2

    trial = Dark((WEIGHTS * (IMAGE + 2)).sum(0), image=IMAGE, module=linear(WEIGHTS, IMAGE).module)
    found = sensitivity_n(trial, cells=4, subsets=20, fill="black")
    assert found == pytest.approx((1,) * 5, abs=1e-6)
    other = sensitivity_n(trial, cells=4, subsets=20)
    assert other is not None
    assert max(other) < 0.99


def test_of_logits_and_of_the_class_asked_about() -> None:
    assert sensitivity_n(linear(1000 * WEIGHTS, IMAGE), cells=3, steps=1) == pytest.approx((1,), abs=1e-6)
    trial = Toy(-(WEIGHTS * IMAGE).sum(0), index=1, image=IMAGE)
    trial.module = lambda images: -linear(WEIGHTS, IMAGE).module(images)[:, [1, 0]]
    assert sensitivity_n(trial, cells=3, steps=1) == pytest.approx((1,), abs=1e-6)


def test_equals_the_definition_in_what_was_shown() -> None:
    """10, 30, ... 90 % of 25 cells; a cell is taken away as a whole, and holds the sum over its pixels."""
    raw = noise(2, 12, 12)
    trial = Watched(raw, image=IMAGE, module=curved)
    found = sensitivity_n(trial, cells=5, subsets=40)
    assert [len(part) for part in trial.shown] == [1] + 5 * [32, 8]
    rows = [[y for y in range(12) if y * 5 // 12 == at] for at in range(5)]
    expected, sizes = [], []
    for step in range(5):
        shown = torch.cat(trial.shown[1 + 2 * step : 3 + 2 * step])
        sums, drops = [], []
        for image in shown:
            gone = (image != IMAGE).any(0)
            assert not image[:, gone].any()
            sums.append(float(raw[gone].double().sum()))
            drops.append(float(curved(IMAGE[None])[0, 0] - curved(image[None])[0, 0]))
            whole = [bool(gone[ys][:, xs].all()) for ys in rows for xs in rows]
            part = [bool(gone[ys][:, xs].any()) for ys in rows for xs in rows]
            assert whole == part
            sizes.append(sum(whole))
        expected.append(np.corrcoef(sums, drops)[0, 1])
        assert len({image.flatten().sum() for image in shown}) > 20
    assert sizes == [2] * 40 + [8] * 40 + [12] * 40 + [18] * 40 + [22] * 40  # 2.5, 7.5, 12.5, 17.5, 22.5, to even
    assert found == pytest.approx(expected, abs=1e-5)


def test_every_cell_is_as_likely() -> None:
    trial = Watched(noise(2, 3, 3), image=torch.ones(1, 3, 3))
    sensitivity_n(trial, cells=3, steps=1, subsets=2000)
    gone = torch.cat(trial.shown[1:])[:, 0] == 0
    assert gone.sum((1, 2)).unique().tolist() == [4]
    assert gone.float().mean(0).sub(4 / 9).abs().max() < 0.05


def test_noise_is_uncorrelated_with_what_counts() -> None:
    found = [
        sensitivity_n(linear(WEIGHTS, IMAGE, noise(seed, 12, 12)), cells=12, steps=1, subsets=50)
        for seed in range(10, 30)
    ]
    assert abs(np.mean([one for one in found if one])) < 0.1


def test_a_coarse_map_is_summed_in_the_images_pixels() -> None:
    coarse = noise(3, 3, 3)
    wide = interpolate(coarse[None, None], (12, 12), mode="bilinear", align_corners=False)[0, 0]
    options: dict[str, Any] = {"cells": 4, "steps": 1, "subsets": 20}
    found = [sensitivity_n(Toy(raw, image=IMAGE, module=curved), **options) for raw in (coarse, wide)]
    assert found[0] == found[1]


def test_the_seed_draws_the_subsets() -> None:
    found = [
        sensitivity_n(Toy(noise(2, 12, 12), image=IMAGE, module=curved, seed=seed), cells=4, steps=1, subsets=20)
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1] != found[2]


def test_what_cant_be_judged() -> None:
    """Even maps, also where cells differ in size; a map of which no set holds anything; a model that doesn't care."""
    for even in (0.0, 0.1, -1.0):
        assert sensitivity_n(Toy(torch.full((3, 3), even), image=IMAGE, module=curved), cells=5) is None
    one = torch.zeros(12, 12)
    one[0, 0] = 1
    assert sensitivity_n(Toy(one, image=IMAGE, module=curved), cells=12, steps=1, subsets=2) is None
    assert sensitivity_n(Toy(noise(2, 12, 12), image=IMAGE, module=lambda i: 0 * i.flatten(1)[:, :2]), cells=5) is None


def test_figures_by_hand() -> None:
    values = np.array([[0.5, 0.25], [-0.5, 0.75]])
    assert over_sizes(values, ["a", "b"]) == 0.25
    assert by_size(values, ["a", "b"]).tolist() == [[0.25, 0], [0.75, 0.5]]


@pytest.mark.parametrize("options", [{"cells": 1}, {"cells": 13}, {"steps": 0}, {"subsets": 1}])
def test_refuses_what_cant_be_taken(options: dict[str, int]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(MetricError, match=rf"sensitivity-n takes 2 cells.* got .*{name}={value}.* and 12 x 12 pixels"):
        sensitivity_n(Toy(noise(2, 3, 3), image=IMAGE), **options)
