"""Correlations against their definitions in loops, known values and scipy."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor

from sightline.metrics.correlation import pearson, spearman

Measure = Callable[[Tensor, Tensor], float | None]
both = pytest.mark.parametrize("correlation", [pearson, spearman])


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def slow_ranks(values: list[float]) -> list[float]:
    """How many are smaller, and half of the others that are equal."""
    return [sum(other < one for other in values) + (sum(other == one for other in values) - 1) / 2 for one in values]


def slow_pearson(a: list[float], b: list[float]) -> float:
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    shared = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b))
    return shared / math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))


@pytest.mark.parametrize("seed", range(3))
def test_equal_their_definitions(seed: int) -> None:
    a, b = noise(seed, 4, 5), noise(seed + 10, 4, 5)
    a[0], b[:, 1] = 0, 0.5  # ties
    flat = a.flatten().tolist(), b.flatten().tolist()
    assert pearson(a, b) == pytest.approx(slow_pearson(*flat), abs=1e-12)
    assert spearman(a, b) == pytest.approx(slow_pearson(*map(slow_ranks, flat)), abs=1e-12)
    assert pearson(a, b) == pytest.approx(stats.pearsonr(*flat).statistic, abs=1e-12)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(*flat).statistic, abs=1e-12)


def test_by_hand() -> None:
    """Spearman's 1 - 6 sum d^2 / (n (n^2 - 1)) for d = 0, 1, 1, 0 of four; tied ranks are shared."""
    assert spearman(torch.tensor([1.0, 2, 3, 4]), torch.tensor([1.0, 30, 20, 400])) == pytest.approx(1 - 12 / 60)
    ranks = slow_pearson([0, 1.5, 1.5, 3], [0, 1, 2, 3])
    assert spearman(torch.tensor([0.0, 5, 5, 9]), torch.tensor([0.0, 1, 2, 3])) == pytest.approx(ranks)
    assert pearson(torch.tensor([0.0, 0, 1]), torch.tensor([0.0, 1, 1])) == pytest.approx(0.5)


@both
def test_limits(correlation: Measure) -> None:
    a = noise(0, 6, 7)
    assert correlation(a, a) == 1
    assert correlation(a, -a) == -1
    assert correlation(a, 3 * a + 1) == pytest.approx(1, abs=1e-6)
    assert abs(correlation(noise(1, 100, 100), noise(2, 100, 100))) < 0.04


def test_only_spearman_is_of_ranks_alone() -> None:
    a = noise(0, 6, 7)
    assert spearman(a, a.exp()) == 1
    assert pearson(a, a.exp()) < 0.95


@both
def test_a_constant_map_has_none(correlation: Measure) -> None:
    a = noise(0, 3, 3)
    for one, two in itertools.product([a, torch.full((3, 3), 0.1)], repeat=2):
        if one is not a or two is not a:
            assert correlation(one, two) is None


@both
def test_scale_and_precision_dont_matter(correlation: Measure) -> None:
    a, b = noise(0, 5, 5).double(), noise(1, 5, 5).double()
    true = correlation(a, b)
    for scale in (1e-30, 1e30, 1e-200):
        assert correlation(scale * a, b) == pytest.approx(true, abs=1e-9)
    assert correlation((a + 1e6).double(), b) == pytest.approx(true, abs=1e-6)
    assert correlation(a.to(torch.bfloat16), b.float()) == pytest.approx(true, abs=0.01)
