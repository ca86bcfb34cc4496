"""Relevance rank accuracy against sorting, with ties broken by lot, cases by hand and limits."""

import numpy as np
import pytest
import torch
from given import box, dot, given

from sightline.metrics.order import order
from sightline.metrics.relevance_rank import relevance_rank
from sightline.trials import Truth


def share(raw: torch.Tensor, mask: np.ndarray, ignore: np.ndarray | None = None) -> float | None:
    found = relevance_rank(given(raw, Truth("thing", mask=mask, ignore=ignore)))
    return None if found is None else found[0]


def noise(seed: int) -> tuple[torch.Tensor, np.ndarray]:
    draw = np.random.default_rng(seed)
    return torch.from_numpy(draw.standard_normal((9, 12)).astype(np.float32)), draw.random((9, 12)) < 0.3


@pytest.mark.parametrize("seed", range(5))
def test_equals_sorting(seed: int) -> None:
    raw, mask = noise(seed)
    size = int(mask.sum())
    highest = sorted(range(mask.size), key=lambda i: -float(raw.flatten()[i]))[:size]
    assert share(raw, mask) == pytest.approx(mask.flat[highest].mean())


@pytest.mark.parametrize("seed", range(3))
def test_of_ties_it_is_the_mean_over_orders_drawn(seed: int) -> None:
    raw, mask = noise(seed)
    raw = (raw.clamp(min=0) * 1.5).round()
    size, generator = int(mask.sum()), torch.Generator().manual_seed(0)
    inside = torch.from_numpy(mask.flatten())
    drawn = [float(inside[order(raw, generator)[:size]].float().mean()) for _ in range(3000)]
    assert np.std(drawn) > 0
    assert share(raw, mask) == pytest.approx(np.mean(drawn), abs=5 * np.std(drawn) / np.sqrt(3000))


def test_by_hand() -> None:
    """Four pixels of a mask: 9 is in, 8 is out, and for the two places left there are 7, 7 and 7, one of them in."""
    mask = np.zeros((3, 3), dtype=bool)
    mask[0] = mask[1, 0] = True
    raw = torch.tensor([[9.0, 7, 1], [0, 7, 7], [8, 0, 0]])
    assert share(raw, mask) == pytest.approx((1 + 2 / 3) / 4)


def test_limits() -> None:
    mask = np.zeros((50, 60), dtype=bool)
    mask[10:30, 10:40] = True
    lit = torch.from_numpy(mask).float()
    assert share(lit, mask) == 1
    assert share(-lit + 2, mask) == 0
    assert share(torch.ones(50, 60), mask) == pytest.approx(mask.mean())
    assert share(dot(20, 20), mask) == pytest.approx((1 + 599 * 599 / 2999) / 600)
    assert share(torch.ones(50, 60), np.ones_like(mask)) == 1
    for empty in (torch.zeros(50, 60), -torch.ones(50, 60), torch.full((50, 60), torch.nan)):
        assert share(empty, mask) is None
    assert share(lit, np.zeros_like(mask)) is None


def test_unseen_and_ignored_pixels_dont_count() -> None:
    """Left out as if they weren't there, also of the mask and its size."""
    raw, mask = noise(0)
    raw[7:] = 9
    raw[:, 10:] = torch.nan
    ignore = np.zeros_like(mask)
    ignore[7:] = True
    assert share(raw, mask, ignore) == share(raw[:7, :10], mask[:7, :10]) != share(raw, mask)
    unseen = torch.ones(9, 12)
    unseen[torch.from_numpy(mask)] = torch.nan
    assert share(unseen, mask) is None


def test_without_a_mask_it_cant_be_judged() -> None:
    assert relevance_rank(given(dot(20, 20), box(10, 10, 30, 30))) is None
    assert relevance_rank(given(dot(20, 20), None)) is None
