"""Energy against sums in loops, cases by hand and limits."""

from typing import Any

import numpy as np
import pytest
import torch
from given import box, dot, given

from sightline.errors import MetricError
from sightline.metrics.energy import energy
from sightline.trials import Truth


def share(raw: torch.Tensor, truth: Truth | None, **options: Any) -> float | None:
    found = energy(given(raw, truth), **options)
    return None if found is None else found[0]


@pytest.mark.parametrize("seed", range(5))
def test_equals_sums_over_pixels(seed: int) -> None:
    draw = np.random.default_rng(seed)
    raw = torch.from_numpy(draw.standard_normal((9, 12)).astype(np.float32))
    raw[0, :3] = torch.nan
    mask, ignore = draw.random((2, 9, 12)) < 0.3
    inside = total = 0.0
    for y in range(9):
        for x in range(12):
            if float(raw[y, x]) > 0 and not ignore[y, x]:
                total += float(raw[y, x])
                inside += float(raw[y, x]) * bool(mask[y, x])
    assert share(raw, Truth("thing", mask=mask, ignore=ignore)) == pytest.approx(inside / total)


def test_by_hand() -> None:
    """3 of 4 in the box: -5 is no evidence."""
    raw = dot(15, 15, value=3) + dot(40, 40) + dot(41, 41, value=-5) + dot(16, 16, value=-5)
    assert share(raw, box(10, 10, 20, 20)) == 0.75
    assert share(raw, box(10, 10, 15, 15)) == 0
    mask = np.zeros((50, 60), dtype=bool)
    mask[40, 40] = True
    truth = box(10, 10, 20, 20, mask=mask)
    assert share(raw, truth) == 0.25
    assert share(raw, truth, region="boxes") == 0.75
    with pytest.raises(MetricError, match="region=box is none of mask, boxes"):
        share(raw, truth, region="box")


def test_limits() -> None:
    truth = box(10, 10, 40, 30)
    region = torch.from_numpy(truth.region((60, 50))).float()
    assert share(region, truth) == 1
    assert share(1 - region, truth) == 0
    assert share(torch.ones(50, 60), truth) == pytest.approx(30 * 20 / 3000)
    for empty in (torch.zeros(50, 60), -torch.ones(50, 60), torch.full((50, 60), torch.nan)):
        assert share(empty, truth) is None
    assert share(region, Truth("thing")) is None
    assert share(region, None) is None


def test_scale_doesnt_matter_and_many_small_values_are_summed_well() -> None:
    raw = torch.full((1500, 1500), 1e-8)
    raw[:750] = 3e-8
    truth = box(0, 0, 1500, 750)
    assert share(raw, truth) == pytest.approx(0.75, rel=1e-6)
    assert share(raw * 1e12, truth) == pytest.approx(0.75, rel=1e-6)


def test_single_is_one_box_of_less_than_half_the_picture() -> None:
    raw = torch.ones(50, 60)
    assert share(raw, box(0, 0, 29, 50), single=True) == pytest.approx(29 / 60)
    assert share(raw, box(0, 0, 30, 50), single=True) is None
    assert share(raw, box(0, 0, 30, 50)) == 0.5
    assert share(raw, Truth("thing", ((0, 0, 5, 5), (9, 9, 12, 12))), single=True) is None
    mask = np.zeros((50, 60), dtype=bool)
    mask[:2] = True
    assert share(raw, box(0, 0, 30, 50, mask=mask), single=True) is None  # it's the box that is large
