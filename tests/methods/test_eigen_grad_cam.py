"""Eigen-Grad-CAM against the first eigenvector found by loops, against cases solved by hand, and against its peer."""

import warnings

import pytest
import torch
from drawn import SEEDS, dead, drawn, plane
from hypothesis import given
from test_eigen_cam import as_in_the_paper as eigen_cam_of
from torch import Tensor
from torch.testing import assert_close

from sightline.methods.eigen_cam import eigen_cam
from sightline.methods.eigen_grad_cam import eigen_grad_cam
from sightline.methods.hires_cam import hires_cam


def by_loops(activations: Tensor, gradients: Tensor) -> Tensor:
    """Eigen-CAM's loops on g A, target by target; the sign is the one of their sum over channels, g . A."""
    products = activations * gradients
    rows = [eigen_cam_of(products[:, k : k + 1]) for k in range(products.shape[1])]
    found = torch.cat(rows, 1)
    for n in range(found.shape[0]):
        for k in range(found.shape[1]):
            agreement = 0.0
            for y in range(found.shape[2]):
                for x in range(found.shape[3]):
                    agreement += found[n, k, y, x].item() * sum(products[n, k, :, y, x].tolist())
            if agreement < 0:
                found[n, k] = -found[n, k]
    return found


@given(SEEDS)
def test_equals_the_loops(seed: int) -> None:
    activations, gradients = drawn(seed)
    assert_close(eigen_grad_cam(activations, gradients), by_loops(activations, gradients), rtol=1e-6, atol=1e-8)


def test_of_rank_one_is_that_map_times_the_channels_length() -> None:
    """Channels 3 and 4 times one map; the gradients 2 and 1.5 make 6 and 6 of them, of length 72^.5."""
    shape = plane([1, 0, 2], [0, 3, -1])
    activations = torch.cat([3 * shape, 4 * shape])
    gradients = torch.cat([torch.full_like(shape, 2), torch.full_like(shape, 1.5)])
    assert_close(eigen_grad_cam(activations, gradients), 72**0.5 * shape[0])


def test_the_stronger_of_two_directions_wins_and_is_negative_where_it_speaks_against() -> None:
    activations = torch.cat([plane([0, 3], [0, 3]), plane([4, 0], [0, 0])])
    against = torch.cat([plane([-1, -1], [-1, -1]), plane([1, 1], [1, 1])])
    assert_close(eigen_grad_cam(activations, against), torch.tensor([[0, -3], [0, -3]]).double())
    twice = torch.cat([plane([-1, -1], [-1, -1]), plane([2, 1], [1, 1])])  # 8 is more than 18^.5
    assert_close(eigen_grad_cam(activations, twice), torch.tensor([[8, 0], [0, 0]]).double())


@given(SEEDS)
def test_evidence_against_is_evidence_for_the_opposite(seed: int) -> None:
    """Which Eigen-CAM's positive sum wouldn't tell apart."""
    activations, gradients = drawn(seed)
    found = eigen_grad_cam(activations, gradients)
    assert_close(eigen_grad_cam(activations, -gradients), -found)
    assert ((found * hires_cam(activations, gradients)).sum((-2, -1)) > 0).all()
    assert_close(eigen_grad_cam(activations, 2 * gradients), 2 * found)


@given(SEEDS)
def test_is_eigen_cam_where_gradients_are_1_and_activations_positive(seed: int) -> None:
    activations = drawn(seed)[0].abs()
    assert_close(eigen_grad_cam(activations, torch.ones_like(activations)), eigen_cam(activations))


def test_nothing_is_centred() -> None:
    even = 3 * torch.ones(1, 2, 2, dtype=torch.float64)
    assert_close(eigen_grad_cam(even, -even), -9 * torch.ones(2, 2, dtype=torch.float64))


def test_a_dead_layer_gives_zeros() -> None:
    assert torch.equal(eigen_grad_cam(*dead()), torch.zeros(2, 4, 5).double())


def test_pytorch_grad_cam_centres_and_leaves_the_sign_open() -> None:
    """So its maps are ours of the centred products, some of them turned round."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = pytest.importorskip("pytorch_grad_cam.utils.svd_on_activations", reason="it isn't installed")
    turned = 0
    for seed in range(20):
        activations, gradients = (each[0, :1] for each in drawn(seed))
        products = activations * gradients
        centred = products - products.mean((-2, -1), keepdim=True)
        ours = eigen_grad_cam(centred, torch.ones_like(centred))
        theirs = torch.from_numpy(peer.get_2d_projection(products.numpy())).double()
        sign = (ours * theirs).sum().sign()
        assert_close(sign * theirs, ours, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(theirs.abs(), eigen_grad_cam(activations, gradients).abs(), rtol=1e-2)
        turned += int(sign < 0)
    assert 0 < turned < 20
