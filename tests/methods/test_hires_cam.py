"""HiResCAM against the paper's eq. 3 written as loops, and against cases solved by hand."""

import torch
from drawn import SEEDS, dead, drawn, plane
from hypothesis import given
from torch import Tensor
from torch.testing import assert_close

from sightline.methods.hires_cam import hires_cam


def as_in_the_paper(activations: Tensor, gradients: Tensor) -> Tensor:
    """Eq. 3 in its own indices."""
    n_, k_, c_, h_, w_ = gradients.shape
    out = torch.zeros(n_, k_, h_, w_, dtype=gradients.dtype)
    for n in range(n_):
        for k in range(k_):
            for c in range(c_):
                for y in range(h_):
                    for x in range(w_):
                        out[n, k, y, x] += gradients[n, k, c, y, x].item() * activations[n, 0, c, y, x].item()
    return out


@given(SEEDS)
def test_equals_the_paper(seed: int) -> None:
    activations, gradients = drawn(seed)
    assert_close(hires_cam(activations, gradients), as_in_the_paper(activations, gradients))


def test_by_hand_and_signed() -> None:
    activations = torch.cat([plane([1, 2], [3, 4]), plane([5, 6], [-7, 8])])
    gradients = torch.cat([plane([2, -1], [1, 1]), plane([1, 1], [1, -9])])
    assert_close(hires_cam(activations, gradients), torch.tensor([[7, 4], [-4, -68]]).double())


def test_one_lit_cell() -> None:
    assert_close(hires_cam(plane([0, 5], [0, 0]), plane([7, -2], [7, 7])), torch.tensor([[0, -10], [0, 0]]).double())


@given(SEEDS)
def test_is_linear_in_the_gradient_so_that_scores_may_be_subtracted(seed: int) -> None:
    activations, gradients = drawn(seed, targets=3)
    found = hires_cam(activations, gradients)
    both = hires_cam(activations, gradients[:, :1] - 2 * gradients[:, 1:2])
    assert_close(both, found[:, :1] - 2 * found[:, 1:2])


def test_a_dead_layer_gives_zeros() -> None:
    assert torch.equal(hires_cam(*dead()), torch.zeros(2, 4, 5).double())
