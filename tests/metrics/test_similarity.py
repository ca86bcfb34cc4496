"""SSIM against its formula in loops, and scikit-image's."""

import math

import numpy as np
import pytest
import torch

from sightline.errors import MetricError
from sightline.metrics.similarity import ssim


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def slow(a: np.ndarray, b: np.ndarray, span: float) -> float:
    weights = np.array([[math.exp(-(x * x + y * y) / (2 * 1.5**2)) for x in range(-5, 6)] for y in range(-5, 6)])
    weights /= weights.sum()
    found = []
    for y in range(5, a.shape[0] - 5):
        for x in range(5, a.shape[1] - 5):
            one, two = (each[y - 5 : y + 6, x - 5 : x + 6] for each in (a, b))
            m, n = (weights * one).sum(), (weights * two).sum()
            s, t = (weights * (one - m) ** 2).sum(), (weights * (two - n) ** 2).sum()
            both = (weights * (one - m) * (two - n)).sum()
            c, d = (0.01 * span) ** 2, (0.03 * span) ** 2
            found.append((2 * m * n + c) * (2 * both + d) / ((m**2 + n**2 + c) * (s + t + d)))
    return float(np.mean(found))


@pytest.mark.parametrize("span", [1, 2])
def test_equals_the_formula_and_scikit_images(span: float) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a, b = noise(0, 20, 17), noise(1, 20, 17)
    b = 0.6 * a + 0.4 * b
    found = ssim(a, b, span=span)
    arrays = a.double().numpy(), b.double().numpy()
    assert found == pytest.approx(slow(*arrays, span), abs=1e-10)
    theirs = metrics.structural_similarity(
        *arrays, data_range=span, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert found == pytest.approx(theirs, abs=1e-10)


def test_limits() -> None:
    a = noise(0, 20, 17)
    assert ssim(a, a, span=1) == pytest.approx(1)
    assert ssim(a, 1 - a, span=1) < 0
    assert abs(ssim(noise(0, 200, 200), noise(1, 200, 200), span=1)) < 0.05
    assert ssim(noise(0, 11, 11), noise(1, 11, 11), span=1) == ssim(noise(1, 11, 11), noise(0, 11, 11), span=1)


@pytest.mark.parametrize("shape", [(10, 30), (30, 10)])
def test_a_map_smaller_than_a_window_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(MetricError, match="11 pixels or more a side"):
        ssim(noise(0, *shape), noise(1, *shape), span=1)
