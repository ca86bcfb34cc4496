"""KPCA-CAM against a kernel written as loops, against cases solved by hand, and against pytorch-grad-cam."""

import math

import pytest
import torch
from drawn import SEEDS, dead, drawn, plane
from hypothesis import given
from nets import Pooled, captured, image, seeded
from test_score_cam import pytorch_grad_cam, scaled
from torch import Tensor
from torch.testing import assert_close

import sightline
from sightline.errors import MethodError
from sightline.methods.kpca_cam import kpca_cam


def as_in_the_paper(activations: Tensor, kernel: str = "sigmoid") -> Tensor:
    """The cells, centred, compared pair by pair; the kernel centred; its first eigenvector times its value's root."""
    n_, _, c_, h_, w_ = activations.shape
    out = torch.zeros(n_, 1, h_, w_, dtype=torch.float64)
    for n in range(n_):
        cells = [activations[n, 0, :, y, x].tolist() for y in range(h_) for x in range(w_)]
        means = [sum(cell[c] for cell in cells) / len(cells) for c in range(c_)]
        cells = [[value - mean for value, mean in zip(cell, means)] for cell in cells]
        alike = [[kernels(a, b, kernel) for b in cells] for a in cells]
        every = range(len(cells))
        rows = [sum(alike[i]) / len(cells) for i in every]
        whole = sum(rows) / len(cells)
        centred = torch.tensor([[alike[i][j] - rows[i] - rows[j] + whole for j in every] for i in every])
        values, vectors = torch.linalg.eigh(centred.double())
        found = vectors[:, -1] * values[-1].sqrt()
        out[n, 0] = (found * found[found.abs().argmax()].sign()).view(h_, w_)
    return out


def kernels(a: list[float], b: list[float], kernel: str) -> float:
    product = sum(x * y for x, y in zip(a, b))
    apart = sum((x - y) ** 2 for x, y in zip(a, b))
    return {
        "sigmoid": math.tanh(product / len(a) + 1),
        "rbf": math.exp(-apart / len(a)),
        "poly": (product / len(a) + 1) ** 3,
        "linear": product,
    }[kernel]


@given(SEEDS)
def test_equals_the_paper(seed: int) -> None:
    activations, _ = drawn(seed)
    assert_close(kpca_cam(activations), as_in_the_paper(activations), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel", ["rbf", "poly", "linear"])
def test_equals_the_paper_with_other_kernels(kernel: str) -> None:
    activations, _ = drawn(1)
    assert_close(kpca_cam(activations, kernel=kernel), as_in_the_paper(activations, kernel), rtol=1e-5, atol=1e-6)


def test_many_cells_take_another_solver_and_repeat_bit_for_bit() -> None:
    activations = torch.randn(1, 1, 3, 15, 16, dtype=torch.float64)
    found = kpca_cam(activations)
    assert_close(found, as_in_the_paper(activations), rtol=1e-4, atol=1e-5)
    assert torch.equal(kpca_cam(activations), found)


def test_two_cells_by_hand() -> None:
    """Centred they are -2 and 2: tanh(5) for alike, tanh(-3) for apart; half the difference is the square of each."""
    found = kpca_cam(plane([1, 5]))
    side = math.sqrt((math.tanh(5) - math.tanh(-3)) / 2)
    assert_close(found.abs(), torch.tensor([[side, side]]).double())
    assert_close(found.sum(), torch.tensor(0.0).double())


def test_gamma_by_hand() -> None:
    found = kpca_cam(plane([1, 5]), gamma=0.5)
    side = math.sqrt((math.tanh(3) - math.tanh(-1)) / 2)
    assert_close(found.abs(), torch.tensor([[side, side]]).double())


def test_of_a_linear_kernel_and_rank_one_is_that_map_centred_the_furthest_cell_positive() -> None:
    channels = torch.tensor([3.0, -4.0]).double()[:, None, None]  # of length 5
    for shape in (plane([1, 0, 2], [0, 9, 0]), -plane([1, 0, 2], [0, 9, 0])):
        expected = 5 * torch.tensor([[-1.0, -2, 0], [-2, 7, -2]]).double()
        assert_close(kpca_cam(channels * shape, kernel="linear"), expected)


@pytest.mark.parametrize("activations", [
    dead()[0], torch.full((2, 1, 3, 4, 5), 0.1).double(), drawn(0)[0] * 1e-9, torch.full((1, 3, 15, 15), 0.1),
])  # fmt: skip
def test_a_dead_layer_and_an_even_one_give_zeros(activations: Tensor) -> None:
    found = kpca_cam(activations)
    assert torch.equal(found, torch.zeros(*activations.shape[:-3], *activations.shape[-2:]).to(activations))


def test_a_batch_is_its_images() -> None:
    activations, _ = drawn(2)
    assert_close(kpca_cam(activations)[1:], kpca_cam(activations[1:]))


def test_refuses_an_unknown_kernel() -> None:
    with pytest.raises(MethodError, match="no kernel 'gauss'; its kernels: sigmoid, rbf"):
        kpca_cam(drawn(0)[0], kernel="gauss")


def test_equals_pytorch_grad_cam() -> None:
    model, images = seeded(Pooled).double(), 3 * image(2, dtype=torch.float64)
    found = sightline.maps(model, images, 0, layer="features", method="kpca-cam")
    planes, _ = captured(model, model.features, images, lambda out: out[:, 0])
    assert_close(found, as_in_the_paper(planes[:, None])[:, 0], rtol=1e-6, atol=1e-8)
    theirs = pytorch_grad_cam("KPCA_CAM", model.float(), "features", images.float(), [0, 0])
    assert_close(theirs, scaled(found, images), rtol=0, atol=1e-4)
