"""CAM against the paper's sums written as loops, and against cases solved by hand."""

import torch
from drawn import SEEDS, dead, drawn, plane
from hypothesis import given
from torch import Tensor
from torch.testing import assert_close

from sightline.methods.cam import cam


def as_in_the_paper(activations: Tensor, weights: Tensor) -> Tensor:
    """Eq. 2 with weights (N, K, C) of the linear layer, in its own indices: M_c(x, y) = sum_k w_k^c f_k(x, y)."""
    n_, k_, c_ = weights.shape
    h_, w_ = activations.shape[-2:]
    out = torch.zeros(n_, k_, h_, w_, dtype=weights.dtype)
    for n in range(n_):
        for k in range(k_):
            for c in range(c_):
                for y in range(h_):
                    for x in range(w_):
                        out[n, k, y, x] += weights[n, k, c].item() * activations[n, 0, c, y, x].item()
    return out


@given(SEEDS)
def test_equals_the_paper(seed: int) -> None:
    """Under average pooling over Z = 20 cells a weight reaches the layer as a gradient of w / Z everywhere."""
    activations, gradients = drawn(seed)
    weights = gradients[..., 0, 0]
    spread = (weights / 20)[..., None, None].expand_as(gradients)
    assert_close(cam(activations, spread), as_in_the_paper(activations, weights))


@given(SEEDS)
def test_any_pooling_with_weights_that_sum_to_one_gives_the_same_weights(seed: int) -> None:
    activations, gradients = drawn(seed)
    weights, pool = gradients[..., 0, 0], activations[0, 0, 0].softmax(0) / 5
    assert_close(cam(activations, weights[..., None, None] * pool), as_in_the_paper(activations, weights))


def test_by_hand_and_signed() -> None:
    activations = torch.cat([plane([1, 0], [2, 4]), plane([3, 1], [0, 0])])
    gradients = torch.cat([plane([0.5, 0.5], [0.5, 0.5]), plane([-0.25, -0.25], [-0.25, -0.25])])  # 2 and -1
    assert_close(cam(activations, gradients), torch.tensor([[-1, -1], [4, 8]]).double())


def test_one_lit_cell() -> None:
    assert_close(cam(plane([0, 5], [0, 0]), plane([-1, -1], [-1, -1])), torch.tensor([[0, -20], [0, 0]]).double())


def test_a_dead_layer_gives_zeros() -> None:
    assert torch.equal(cam(*dead()), torch.zeros(2, 4, 5).double())
