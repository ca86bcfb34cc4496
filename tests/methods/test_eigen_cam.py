"""Eigen-CAM against the first eigenvector found by loops, and against cases solved by hand."""

import torch
from drawn import SEEDS, dead, drawn, plane
from hypothesis import given
from torch import Tensor
from torch.testing import assert_close

from sightline.methods.eigen_cam import eigen_cam

Matrix = list[list[float]]


def as_in_the_paper(activations: Tensor) -> Tensor:
    """A v, v the first eigenvector of A^T A, by squaring A^T A until it projects on v; the map's sum is positive."""
    n_, _, c_, h_, w_ = activations.shape
    out = torch.zeros(n_, 1, h_, w_, dtype=activations.dtype)
    for n in range(n_):
        cells = [activations[n, 0, :, y, x].tolist() for y in range(h_) for x in range(w_)]
        gram = [[sum(cell[i] * cell[j] for cell in cells) for j in range(c_)] for i in range(c_)]
        for _ in range(40):
            gram = _of_trace_one(_product(gram, gram))
        column = max(range(c_), key=lambda j: gram[j][j])
        length = sum(gram[i][column] ** 2 for i in range(c_)) ** 0.5
        found = [sum(cell[i] * gram[i][column] / length for i in range(c_)) for cell in cells]
        sign = -1 if sum(found) < 0 else 1
        for y in range(h_):
            for x in range(w_):
                out[n, 0, y, x] = sign * found[y * w_ + x]
    return out


def _product(a: Matrix, b: Matrix) -> Matrix:
    size = range(len(a))
    return [[sum(a[i][k] * b[k][j] for k in size) for j in size] for i in size]


def _of_trace_one(a: Matrix) -> Matrix:
    trace = sum(a[i][i] for i in range(len(a)))
    return [[value / trace for value in row] for row in a]


@given(SEEDS)
def test_equals_the_paper(seed: int) -> None:
    activations, _ = drawn(seed)
    assert_close(eigen_cam(activations), as_in_the_paper(activations), rtol=1e-6, atol=1e-8)


def test_activations_are_not_centred() -> None:
    """The one direction of an even layer is the layer itself; centred, nothing would be left."""
    assert_close(eigen_cam(3 * torch.ones(1, 2, 2, dtype=torch.float64)), 3 * torch.ones(2, 2, dtype=torch.float64))


def test_of_rank_one_is_that_map_times_the_channels_length() -> None:
    shape = plane([1, 0, 2], [0, 3, -1])
    channels = torch.tensor([3.0, -4.0]).double()[:, None, None]  # of length 5
    assert_close(eigen_cam(channels * shape), 5 * shape[0])


def test_the_stronger_of_two_directions_wins() -> None:
    activations = torch.cat([plane([0, 3], [0, 3]), plane([4, 0], [0, 0])])  # lengths 18^.5 and 4
    assert_close(eigen_cam(activations), torch.tensor([[0, 3], [0, 3]]).double())


@given(SEEDS)
def test_sign_is_the_one_of_a_positive_sum(seed: int) -> None:
    activations, _ = drawn(seed)
    found = eigen_cam(activations)
    assert (found.sum((-2, -1)) > 0).all()
    assert (found < 0).any()
    assert_close(eigen_cam(-activations), found)  # a singular vector has no sign of its own


@given(SEEDS)
def test_nothing_is_negative_where_no_activation_is(seed: int) -> None:
    """Perron: the first singular vectors of a matrix without negative entries have none."""
    activations, _ = drawn(seed)
    assert (eigen_cam(activations.abs()) >= 0).all()


def test_more_channels_than_cells_and_fewer() -> None:
    activations, _ = drawn(1)
    tall, flat = activations, activations.permute(0, 1, 3, 2, 4)[..., :2]
    for each in (tall, flat, activations[..., :1, :1]):
        assert_close(eigen_cam(each), as_in_the_paper(each), rtol=1e-6, atol=1e-8)


def test_a_dead_layer_gives_zeros() -> None:
    assert torch.equal(eigen_cam(dead()[0]), torch.zeros(2, 4, 5).double())
