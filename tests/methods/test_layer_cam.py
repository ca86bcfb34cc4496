"""LayerCAM against the paper's eqs. 6 and 7 written as loops, and against cases solved by hand."""

import torch
from drawn import SEEDS, dead, drawn, plane
from hypothesis import given
from torch import Tensor
from torch.testing import assert_close

from sightline.methods.layer_cam import layer_cam


def as_in_the_paper(activations: Tensor, gradients: Tensor) -> Tensor:
    """Eqs. 6 and 7 in their own indices."""
    n_, k_, c_, h_, w_ = gradients.shape
    out = torch.zeros(n_, k_, h_, w_, dtype=gradients.dtype)
    for n in range(n_):
        for k in range(k_):
            for y in range(h_):
                for x in range(w_):
                    total = 0.0
                    for c in range(c_):
                        total += max(gradients[n, k, c, y, x].item(), 0.0) * activations[n, 0, c, y, x].item()
                    out[n, k, y, x] = max(total, 0.0)
    return out


@given(SEEDS)
def test_equals_the_paper(seed: int) -> None:
    activations, gradients = drawn(seed)
    assert_close(layer_cam(activations, gradients), as_in_the_paper(activations, gradients))


def test_by_hand() -> None:
    activations = torch.cat([plane([1, 2], [3, 4]), plane([5, 6], [-7, 8])])
    gradients = torch.cat([plane([2, -1], [1, 1]), plane([1, 1], [1, -9])])
    assert_close(layer_cam(activations, gradients), torch.tensor([[7, 6], [0, 4]]).double())  # 3 - 7 is cut


def test_a_cell_is_lit_by_its_own_gradient_only() -> None:
    assert_close(layer_cam(plane([2, 5]), plane([3, 0])), torch.tensor([[6, 0]]).double())
    assert_close(layer_cam(plane([2, 5]), plane([3, -4])), torch.tensor([[6, 0]]).double())


def test_a_negative_gradient_of_a_negative_activation_counts_nothing() -> None:
    assert_close(layer_cam(plane([-2]), plane([-3])), torch.zeros(1, 1).double())


def test_a_dead_layer_gives_zeros() -> None:
    assert torch.equal(layer_cam(*dead()), torch.zeros(2, 4, 5).double())
