"""Imputation by hand, against the linear system solved at once, and against pytorch-grad-cam's imputer."""

import numpy as np
import pytest
import torch
from linear import noise
from numpy.typing import NDArray
from torch import Tensor
from torch.testing import assert_close

from sightline.metrics.imputation import imputed


def removed(seed: int, height: int, width: int, share: float, blob: float = 0) -> Tensor:
    """A share of the pixels at random, or, the larger `blob`, in one piece around a corner."""
    down, across = torch.arange(height)[:, None], torch.arange(width)
    values = noise(seed, height, width) - blob * (down + across) / (height + width)
    return values > values.flatten().kthvalue(round((1 - share) * values.numel())).values


def solved(image: Tensor, hole: Tensor) -> Tensor:
    """Each removed pixel one equation in all of them, in loops; the system solved at once, in float64."""
    places = [tuple(place) for place in hole.nonzero().tolist()]
    height, width = hole.shape
    left = np.zeros((len(places), len(places)))
    right: NDArray[np.float64] = np.zeros((len(places), len(image)))
    for row, (y, x) in enumerate(places):
        for v, u in [(y + down, x + across) for down in (-1, 0, 1) for across in (-1, 0, 1) if down or across]:
            if 0 <= v < height and 0 <= u < width:
                weight = 1 / 6 if v == y or u == x else 1 / 12
                left[row, row] += weight
                if hole[v, u]:
                    left[row, places.index((v, u))] -= weight
                else:
                    right[row] += weight * image[:, v, u].double().numpy()
    filled = image.clone()
    filled[:, hole] = torch.from_numpy(np.linalg.solve(left, right)).float().T
    return filled


def test_one_pixel_by_hand() -> None:
    """Two thirds of those beside it, a third of those across its corners; at the border, of those that are there."""
    image = torch.tensor([[[1.0, 2, 3], [4, 5, 6], [7, 8, 10]]])
    hole = torch.zeros(3, 3, dtype=torch.bool)
    hole[1, 1] = True
    expected = (2 + 4 + 6 + 8) / 6 + (1 + 3 + 7 + 10) / 12
    assert imputed(image, hole)[0, 1, 1] == pytest.approx(expected, abs=1e-5)
    corner = torch.zeros(3, 3, dtype=torch.bool)
    corner[2, 2] = True
    assert imputed(image, corner)[0, 2, 2] == pytest.approx((8 / 6 + 6 / 6 + 5 / 12) / (5 / 12), abs=1e-5)
    side = torch.zeros(3, 3, dtype=torch.bool)
    side[0, 1] = True
    assert imputed(image, side)[0, 0, 1] == pytest.approx((1 / 6 + 3 / 6 + 5 / 6 + 4 / 12 + 6 / 12) / (2 / 3), abs=1e-5)


CASES = [
    (8, 8, 0.5, 0.0),
    (13, 9, 0.3, 20.0),
    (20, 17, 0.9, 0.0),
    (20, 33, 0.9, 20.0),
    (5, 24, 0.97, 20.0),
    (1, 12, 0.5, 5.0),
]


@pytest.mark.parametrize(("height", "width", "share", "blob"), CASES)
def test_equals_the_system(height: int, width: int, share: float, blob: float) -> None:
    """Also of sides that no power of two divides, and where a small part is all that is left."""
    image, hole = noise(0, 3, height, width), removed(1, height, width, share, blob)
    assert_close(imputed(image, hole), solved(image, hole), rtol=0, atol=1e-4)


def test_a_large_hole_equals_the_system() -> None:
    """A ramp is its own mean of neighbours: within a border that is left, it comes back."""
    down, across = torch.arange(100.0)[:, None], torch.arange(120.0)
    ramp = torch.stack([down / 50 - across / 40, (3 * across - down) / 99])
    hole = torch.zeros(100, 120, dtype=torch.bool)
    hole[1:-1, 1:-1] = True
    assert_close(imputed(ramp, hole), ramp, rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore:__array_wrap__")  # theirs, of numpy 2
@pytest.mark.parametrize("blob", [0.0, 20.0])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_equals_pytorch_grad_cams(share: float, blob: float) -> None:
    road = pytest.importorskip("pytorch_grad_cam.metrics.road", reason="pytorch-grad-cam isn't installed")
    image, hole = noise(2, 3, 41, 30), removed(3, 41, 30, share, blob)
    theirs = road.NoisyLinearImputer(noise=0)(image, (~hole).float())
    assert_close(imputed(image, hole), theirs, rtol=0, atol=1e-4)


def test_what_is_left_stays_as_it_is() -> None:
    image, hole = noise(0, 3, 30, 30), removed(1, 30, 30, 0.6, 5)
    found = imputed(image, hole)
    assert torch.equal(found[:, ~hole], image[:, ~hole])
    assert torch.equal(imputed(image, torch.zeros(30, 30, dtype=torch.bool)), image)


def test_what_was_removed_doesnt_matter() -> None:
    image, hole = noise(0, 3, 30, 30), removed(1, 30, 30, 0.6, 5)
    other = torch.where(hole, 100 * noise(5, 3, 30, 30), image)
    assert torch.equal(imputed(other, hole), imputed(image, hole))


def test_one_pixel_that_is_left_colours_all() -> None:
    hole = torch.ones(19, 23, dtype=torch.bool)
    hole[4, 7] = False
    image = noise(0, 3, 19, 23)
    assert_close(imputed(image, hole), image[:, 4, 7].view(3, 1, 1).expand_as(image), rtol=0, atol=2e-4)


def test_a_hole_as_large_as_a_cell_of_the_coarsest_grid() -> None:
    """Of 31 x 31 pixels the other cells of that grid are cut off by the border."""
    image, hole = noise(0, 2, 31, 31), torch.zeros(31, 31, dtype=torch.bool)
    hole[:16, :16] = True
    assert_close(imputed(image, hole), solved(image, hole), rtol=0, atol=1e-4)


def test_a_channel_of_zeros_stays_zero() -> None:
    image = noise(0, 2, 20, 20)
    image[1] = 0
    found = imputed(image, removed(1, 20, 20, 0.7))
    assert found.isfinite().all()
    assert torch.equal(found[1], image[1])
    assert torch.equal(imputed(0 * image, removed(1, 20, 20, 0.7)), 0 * image)


def test_takes_few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many at 128 x 128 as at a quarter of that; without coarser grids it would take over a hundred."""
    monkeypatch.setattr("sightline.metrics.imputation.ROUNDS", 25)
    image = noise(0, 1, 128, 128).cumsum(1).cumsum(2) / 100
    for blob in (0.0, 30.0):
        hole = removed(1, 128, 128, 0.9, blob)
        few = imputed(image, hole)
        monkeypatch.setattr("sightline.metrics.imputation.ROUNDS", 200)
        assert_close(few, imputed(image, hole), rtol=0, atol=0)
        monkeypatch.setattr("sightline.metrics.imputation.ROUNDS", 25)
