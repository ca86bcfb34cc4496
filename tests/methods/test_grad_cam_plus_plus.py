"""Grad-CAM++ against eq. 19 written as loops, and against cases solved by hand."""

import pytest
import torch
from drawn import SEEDS, dead, drawn, plane
from hypothesis import given
from torch import Tensor
from torch.testing import assert_close

from sightline.methods.grad_cam_plus_plus import grad_cam_plus_plus


def as_in_the_paper(activations: Tensor, gradients: Tensor) -> Tensor:
    """Eq. 19 as it is printed, with its squares and cubes, in its own indices."""
    n_, k_, c_, h_, w_ = gradients.shape
    out = torch.zeros(n_, k_, h_, w_, dtype=gradients.dtype)
    for n in range(n_):
        for k in range(k_):
            for c in range(c_):
                total, weight = 0.0, 0.0
                for a in activations[n, 0, c].flatten().tolist():
                    total += a
                for g in gradients[n, k, c].flatten().tolist():
                    below = 2 * g**2 + total * g**3
                    weight += (g**2 / below if below else 0.0) * max(g, 0.0)
                for y in range(h_):
                    for x in range(w_):
                        out[n, k, y, x] += weight * activations[n, 0, c, y, x].item()
    for cell in out.view(-1):
        cell.fill_(max(cell.item(), 0.0))
    return out


@given(SEEDS)
def test_equals_the_paper(seed: int) -> None:
    activations, gradients = drawn(seed)
    assert_close(
        grad_cam_plus_plus(activations, gradients), as_in_the_paper(activations, gradients), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e-12, 1e-30])
def test_small_gradients_keep_their_shape_in_float32(scale: float) -> None:
    """A fixed epsilon beside a squared gradient makes the map 96 % wrong at 1e-4."""
    activations, gradients = drawn(3)
    activations, gradients = activations.abs(), gradients * scale
    found = grad_cam_plus_plus(activations.float(), gradients.float())
    true = as_in_the_paper(activations, gradients)
    assert_close(found.double() / scale, true / scale, rtol=1e-5, atol=1e-6)


def test_negative_evidence_is_cut() -> None:
    """Both gradients are 1 and sum A is 1: alpha is 1/3, the weight 2/3."""
    found = grad_cam_plus_plus(plane([-1, 2]), plane([1, 1]))
    assert_close(found, torch.tensor([[0, 4 / 3]]).double())


def test_negative_gradients_count_nothing() -> None:
    """sum A is 1: alpha at the gradient of 2 is 1/4, the weight 1/2; the cells with -3 and 0 add nothing."""
    found = grad_cam_plus_plus(plane([1, 0, 0]), plane([-3, 2, 0]))
    assert_close(found, torch.tensor([[0.5, 0, 0]]).double())


def test_the_pole_counts_nothing() -> None:
    """sum A is -1: the gradient 2 is at the pole; the gradient 1 has alpha 1, which is the weight."""
    found = grad_cam_plus_plus(plane([1, -2]), plane([2, 1]))
    assert_close(found, torch.tensor([[1.0, 0]]).double())


def test_beyond_the_pole_the_weight_is_negative_as_eq_19_says() -> None:
    """sum A is -1 and g is 4: alpha is 1 / (2 - 4) = -1/2, the weight of two cells -4."""
    found = grad_cam_plus_plus(plane([1, -2]), plane([4, 4]))
    assert_close(found, torch.tensor([[0, 8.0]]).double())


def test_a_dead_layer_gives_zeros() -> None:
    assert torch.equal(grad_cam_plus_plus(*dead()), torch.zeros(2, 4, 5).double())
