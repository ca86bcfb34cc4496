"""Grad-CAM against the paper's sums written as loops, and against cases solved by hand."""

import torch
from drawn import SEEDS, dead, drawn, plane
from hypothesis import given
from torch import Tensor
from torch.testing import assert_close

from sightline.methods.grad_cam import grad_cam


def as_in_the_paper(activations: Tensor, gradients: Tensor) -> Tensor:
    """Eqs. 1 and 2 in their own indices."""
    n_, k_, c_, h_, w_ = gradients.shape
    out = torch.zeros(n_, k_, h_, w_, dtype=gradients.dtype)
    for n in range(n_):
        for k in range(k_):
            for c in range(c_):
                alpha = 0.0
                for y in range(h_):
                    for x in range(w_):
                        alpha += gradients[n, k, c, y, x].item() / (h_ * w_)
                for y in range(h_):
                    for x in range(w_):
                        out[n, k, y, x] += alpha * activations[n, 0, c, y, x].item()
    for cell in out.view(-1):
        cell.fill_(max(cell.item(), 0.0))
    return out


@given(SEEDS)
def test_equals_the_paper(seed: int) -> None:
    activations, gradients = drawn(seed)
    assert_close(grad_cam(activations, gradients), as_in_the_paper(activations, gradients))


def test_by_hand() -> None:
    activations = torch.cat([plane([1, 0], [2, 4]), plane([3, 1], [0, 0])])
    gradients = torch.cat([plane([4, 0], [0, 0]), plane([-1, -1], [0, 0])])  # weights 1 and -1/2
    assert_close(grad_cam(activations, gradients), torch.tensor([[0, 0], [2, 4]]).double())


def test_one_lit_cell_lights_one_cell_and_weights_come_from_all() -> None:
    activations = plane([0, 0, 0], [0, 5, 0])
    gradients = plane([6, 0, 0], [0, 0, 6])  # mean 2, though 0 at the lit cell
    assert_close(grad_cam(activations, gradients), torch.tensor([[0, 0, 0], [0, 10, 0]]).double())


def test_evidence_against_is_cut_at_the_sum_and_not_by_channel() -> None:
    activations = torch.cat([plane([1, 1]), plane([3, 0.5])])
    gradients = torch.cat([plane([1, 1]), plane([-1, -1])])
    assert_close(grad_cam(activations, gradients), torch.tensor([[0, 0.5]]).double())


def test_a_dead_layer_gives_zeros() -> None:
    assert torch.equal(grad_cam(*dead()), torch.zeros(2, 4, 5).double())


@given(SEEDS)
def test_order_of_channels_is_irrelevant_and_a_doubled_score_doubles_the_map(seed: int) -> None:
    activations, gradients = drawn(seed)
    found = grad_cam(activations, gradients)
    assert_close(grad_cam(activations.flip(2), gradients.flip(2)), found)
    assert_close(grad_cam(activations, 2 * gradients), 2 * found)
