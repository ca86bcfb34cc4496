"""The Gini index: its definition by all pairs, values known in closed form, and limits."""

import pytest
import torch
from toys import Toy

from sightline.metrics.sparseness import sparseness


def gini(raw: torch.Tensor) -> float | None:
    found = sparseness(Toy(raw, image=torch.zeros(3, *raw.shape)))
    return None if found is None else found[0]


@pytest.mark.parametrize("seed", range(3))
def test_is_half_the_mean_difference_of_pairs_over_the_mean(seed: int) -> None:
    raw = torch.randn(5, 6, generator=torch.Generator().manual_seed(seed))
    sizes = raw.abs().double().flatten()
    pairs = (sizes[:, None] - sizes).abs().mean()
    assert gini(raw) == pytest.approx(float(pairs / (2 * sizes.mean())))


def test_closed_forms() -> None:
    """1 to n: (n - 1) / 3n; one of n: 1 - 1/n; half even, half zero: 1/2."""
    assert gini(torch.arange(1.0, 13).view(3, 4)) == pytest.approx(11 / 36)
    one = torch.zeros(3, 4)
    one[1, 1] = -5
    assert gini(one) == pytest.approx(1 - 1 / 12)
    assert gini(torch.tensor([[1.0, 0], [0, -1]])) == pytest.approx(0.5)


def test_limits() -> None:
    assert gini(torch.full((3, 4), 0.3)) == pytest.approx(0)
    assert gini(torch.zeros(3, 4)) is None
    raw = torch.rand(3, 4)
    assert gini(1e-20 * raw) == pytest.approx(gini(raw))
    assert gini(raw**8) > gini(raw)  # type: ignore[operator]


def test_is_of_the_map_in_the_image() -> None:
    found = sparseness(Toy(torch.tensor([[1.0], [0.0]]), image=torch.zeros(3, 4, 1)))
    assert found == pytest.approx((gini(torch.tensor([[1.0], [0.75], [0.25], [0]])),))
