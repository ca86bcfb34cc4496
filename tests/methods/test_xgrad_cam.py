"""XGrad-CAM against eq. 8 written as loops, and against cases solved by hand."""

import torch
from drawn import SEEDS, dead, drawn, plane
from hypothesis import given
from torch import Tensor
from torch.testing import assert_close

from sightline.methods.grad_cam import grad_cam
from sightline.methods.xgrad_cam import xgrad_cam


def as_in_the_paper(activations: Tensor, gradients: Tensor) -> Tensor:
    """Eq. 8 in its own indices: each gradient weighted by its cell's share of the channel's sum."""
    n_, k_, c_, h_, w_ = gradients.shape
    out = torch.zeros(n_, k_, h_, w_, dtype=gradients.dtype)
    for n in range(n_):
        for k in range(k_):
            for c in range(c_):
                total, weight = sum(activations[n, 0, c].flatten().tolist()), 0.0
                for y in range(h_):
                    for x in range(w_):
                        share = activations[n, 0, c, y, x].item() / total
                        weight += share * gradients[n, k, c, y, x].item()
                for y in range(h_):
                    for x in range(w_):
                        out[n, k, y, x] += weight * activations[n, 0, c, y, x].item()
    for cell in out.view(-1):
        cell.fill_(max(cell.item(), 0.0))
    return out


@given(SEEDS)
def test_equals_the_paper(seed: int) -> None:
    activations, gradients = drawn(seed)
    assert_close(xgrad_cam(activations, gradients), as_in_the_paper(activations, gradients), rtol=1e-6, atol=1e-9)


def test_by_hand() -> None:
    """Weights: (1*3 + 3*-1) / 4 = 0 and (2*5 + 0) / 2 = 5."""
    activations = torch.cat([plane([1, 3]), plane([2, 0])])
    gradients = torch.cat([plane([3, -1]), plane([5, 7])])
    assert_close(xgrad_cam(activations, gradients), torch.tensor([[10, 0]]).double())


def test_one_lit_cell_has_its_own_gradient_as_weight() -> None:
    assert_close(xgrad_cam(plane([0, 4], [0, 0]), plane([9, 2], [9, 9])), torch.tensor([[0, 8], [0, 0]]).double())


def test_evidence_against_is_cut() -> None:
    activations = torch.cat([plane([1, 1]), plane([3, 0.5])])
    gradients = torch.cat([plane([1, 1]), plane([-1, -1])])
    assert_close(xgrad_cam(activations, gradients), torch.tensor([[0, 0.5]]).double())


def test_a_channel_that_sums_to_zero_counts_nothing() -> None:
    activations = torch.cat([plane([2, -2]), plane([0, 1])])
    gradients = torch.cat([plane([9, 1]), plane([3, 3])])
    found = xgrad_cam(activations, gradients)
    assert_close(found, torch.tensor([[0, 3]]).double())
    assert not torch.equal(found, grad_cam(activations, gradients))  # so the two differ there


@given(SEEDS)
def test_is_grad_cam_where_gradients_are_even(seed: int) -> None:
    activations, gradients = drawn(seed)
    even = gradients[..., :1, :1].expand_as(gradients)
    assert_close(xgrad_cam(activations, even), grad_cam(activations, even), rtol=1e-6, atol=1e-9)


def test_a_dead_layer_gives_zeros() -> None:
    assert torch.equal(xgrad_cam(*dead()), torch.zeros(2, 4, 5).double())
