"""The rank correlation with an occlusion map: by hand, in loops, and with a real one."""

from typing import Any

import pytest
import torch
from linear import linear, noise
from scipy import stats
from torch import Tensor
from torch.nn.functional import interpolate
from toys import Toy

import sightline
from sightline.errors import MetricError
from sightline.metrics.occlusion_correlation import occlusion_correlation

NAME = "occlusion:window=32:stride=16:fill=zero"


def correlated(raw: Tensor, occluded: Tensor, **options: Any) -> float | None:
    found = occlusion_correlation(Toy(raw, image=torch.zeros(3, 64, 80), others={NAME: occluded}), **options)
    return None if found is None else found[0]


@pytest.mark.parametrize("stride", [16, 24])
@pytest.mark.parametrize("signed", [True, False])
def test_equals_scipys_of_means_over_squares_in_loops(stride: int, signed: bool) -> None:
    """Squares begin where windows do; the border cuts the last ones."""
    raw, occluded = noise(0, 64, 80), noise(1, 64, 80)
    raw[:24, :48] = occluded[24:48, :48] = -1  # ties, once positive parts are taken
    means: list[list[float]] = [[], []]
    for values, found in zip((raw, occluded), means):
        for y in range(0, 64, stride):
            for x in range(0, 80, stride):
                square = values[y : y + stride, x : x + stride].flatten().tolist()
                found.append(sum(one if signed else max(one, 0) for one in square) / len(square))
    expected = stats.spearmanr(*means).statistic
    trial = Toy(raw, image=torch.zeros(3, 64, 80), others={f"occlusion:window=32:stride={stride}:fill=zero": occluded})
    assert occlusion_correlation(trial, stride=stride, signed=signed) == pytest.approx((expected,), abs=1e-6)


@pytest.mark.parametrize("signed", [True, False])
def test_at_pixels_every_pixel_has_a_rank(signed: bool) -> None:
    raw, occluded = noise(0, 64, 80), noise(1, 64, 80)
    flat = [values.flatten() if signed else values.flatten().clamp(min=0) for values in (raw, occluded)]
    expected = stats.spearmanr(*flat).statistic
    assert correlated(raw, occluded, signed=signed, places="pixels") == pytest.approx(expected, abs=1e-6)


def test_coarse_maps_are_compared_in_the_image() -> None:
    raw, occluded = noise(0, 4, 5), noise(1, 8, 10)
    wide = [
        interpolate(values[None, None], (64, 80), mode="bilinear", align_corners=False)[0, 0]
        for values in (raw, occluded)
    ]
    assert correlated(raw, occluded) == pytest.approx(correlated(*wide))


def test_limits() -> None:
    occluded = noise(0, 64, 80)
    for places in ("stride", "pixels"):
        assert correlated(occluded, occluded, places=places) == pytest.approx(1)
        assert correlated(-occluded, occluded, places=places, signed=True) == pytest.approx(-1)
        assert correlated(3 * occluded, occluded, places=places) == pytest.approx(1)
        assert abs(correlated(noise(1, 64, 80), occluded, places="pixels") or 1) < 0.05
    assert correlated(-occluded, occluded, places="pixels") == pytest.approx(-6 / 7, abs=0.01)  # half of each tied
    blocky = noise(0, 4, 5).repeat_interleave(16, 0).repeat_interleave(16, 1)
    detailed = blocky + 0.001 * noise(1, 64, 80)
    assert correlated(detailed, blocky, signed=True) == pytest.approx(1)
    assert (correlated(detailed, blocky, signed=True, places="pixels") or 1) < 0.9999


def test_what_cant_be_judged() -> None:
    some = noise(0, 64, 80)
    for even in (torch.zeros(64, 80), torch.ones(64, 80)):
        assert correlated(even, some) is None
        assert correlated(some, even) is None
    assert correlated(some, -some.abs()) is None
    assert correlated(-some.abs(), some) is None
    assert correlated(-some.abs(), some, signed=True) is not None


def test_the_occluder_is_the_one_named() -> None:
    trial = Toy(noise(0, 64, 80), image=torch.zeros(3, 64, 80))
    asked: list[str] = []
    trial.by = lambda method: asked.append(method) or noise(1, 64, 80)  # type: ignore[func-returns-value,method-assign]
    occlusion_correlation(trial)
    occlusion_correlation(trial, window=20, stride=7, fill="blur")
    assert asked == [NAME, "occlusion:window=20:stride=7:fill=blur"]


@pytest.mark.parametrize("stride", [2, 5, 10])
def test_the_contributions_of_a_linear_model_agree_with_its_occlusion_map(stride: int) -> None:
    """Wholly, for windows side by side, of whose sums the occlusion map is made."""
    weights, image = noise(0, 3, 20, 30), noise(1, 3, 20, 30)
    trial = linear(weights, image)

    class Net(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return trial.module(images)

    name = f"occlusion:window={stride}:stride={stride}:fill=zero"
    trial.others[name] = sightline.maps(Net(), image[None], 0, method=name)[0]
    found = occlusion_correlation(trial, window=stride, stride=stride, signed=True)
    assert found == pytest.approx((1,), abs=1e-3)


def test_refuses_other_places() -> None:
    with pytest.raises(MetricError, match="ranks places of stride or pixels, not 'cells'"):
        correlated(noise(0, 64, 80), noise(1, 64, 80), places="cells")
