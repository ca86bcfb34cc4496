"""Deep feature factorisation against the conditions that a factorisation meets, and against cases solved by hand."""

import warnings

import pytest
import torch
from drawn import SEEDS, dead, drawn, plane
from hypothesis import given, settings
from torch import Tensor
from torch.testing import assert_close

from sightline.errors import MethodError
from sightline.methods.deep_feature_factorization import concepts, deep_feature_factorization
from sightline.methods.grad_cam import grad_cam


def parts() -> Tensor:
    """Two parts of a picture, no cell and no channel in common: channels (3, 0, 4) and (0, 2, 0) times maps."""
    first, second = plane([1, 0, 2], [0, 0, 0]), plane([0, 0, 0], [0, 7, 0])
    return torch.cat([3 * first, 2 * second, 4 * first])


def by_updates(matrix: Tensor, count: int) -> float:
    """How far from the matrix Lee and Seung's updates come, from the best of five random starts."""
    best = float("inf")
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        left = torch.rand(len(matrix), count, generator=generator, dtype=matrix.dtype) + 0.1
        right = torch.rand(count, matrix.shape[1], generator=generator, dtype=matrix.dtype) + 0.1
        for _ in range(300):
            right = right * (left.T @ matrix) / (left.T @ left @ right + 1e-12)
            left = left * (matrix @ right.T) / (left @ right @ right.T + 1e-12)
        best = min(best, float((matrix - left @ right).norm()))
    return best


@given(SEEDS)
@settings(max_examples=8)
def test_a_factorisation_is_non_negative_and_as_near_as_any(seed: int) -> None:
    activations, _ = drawn(seed)
    maps, directions = concepts(activations, 2)
    assert maps.shape == (2, 1, 2, 4, 5)
    assert directions.shape == (2, 1, 2, 3)
    assert (maps >= 0).all()
    assert (directions >= 0).all()
    assert_close(directions.norm(dim=-1), torch.ones(2, 1, 2).double())
    assert (maps[:, :, 0].norm(dim=(-2, -1)) >= maps[:, :, 1].norm(dim=(-2, -1))).all()
    for n in range(2):
        matrix = activations[n, 0].clamp(min=0).flatten(1).T
        product = torch.zeros_like(matrix)
        for j in range(2):
            for i, amount in enumerate(maps[n, 0, j].flatten().tolist()):
                product[i] += amount * directions[n, 0, j]
        assert float((matrix - product).norm()) <= 1.1 * by_updates(matrix, 2)


@given(SEEDS)
@settings(max_examples=8)
def test_nothing_moves_it_nearer(seed: int) -> None:
    """Where an amount is positive the error's slope is 0, and elsewhere it isn't negative; so too for directions."""
    activations, _ = drawn(seed)
    maps, directions = concepts(activations, 2)
    left, right = maps[0, 0].flatten(1).T, directions[0, 0]
    error = left @ right - activations[0, 0].clamp(min=0).flatten(1).T
    for factor, slope in ((left, error @ right.T), (right, left.T @ error)):
        assert float((factor * slope).abs().max()) < 0.02
        assert float(slope.min()) > -0.05


def test_parts_with_nothing_in_common_by_hand() -> None:
    maps, directions = concepts(parts(), 2)
    assert_close(directions, torch.tensor([[0, 1, 0], [0.6, 0, 0.8]]).double(), rtol=1e-3, atol=1e-3)
    expected = torch.stack([torch.tensor([[0, 0, 0], [0, 14, 0]]), torch.tensor([[5, 0, 10], [0, 0, 0]])]).double()
    assert_close(maps, expected, rtol=1e-3, atol=1e-3)


def test_a_concept_counts_as_far_as_it_speaks_for_the_score() -> None:
    """Mean gradients 1, 1/2 and 1 along (0, 1, 0) and (0.6, 0, 0.8): 1/2 and 7/5. Or -1 along the first: 0."""
    steps = torch.tensor([[1, 0.5, 1], [1, -1, 1]]).double()
    gradients = (steps[:, :, None, None] * plane([6, 0, 0], [0, 0, 0])).double()  # of mean 1, at one cell
    found = deep_feature_factorization(parts()[None], gradients, concepts=2)
    both, one = torch.tensor([[7, 0, 14], [0, 7, 0]]).double(), torch.tensor([[7, 0, 14], [0, 0, 0]]).double()
    assert_close(found, torch.stack([both, one]), rtol=1e-3, atol=1e-2)


@given(SEEDS)
@settings(max_examples=8)
def test_equals_its_own_definition(seed: int) -> None:
    activations, gradients = drawn(seed)
    maps, directions = concepts(activations, 4)
    expected = torch.zeros(2, 2, 4, 5).double()
    for n in range(2):
        for k in range(2):
            for j in range(4):
                weight = 0.0
                for c in range(3):
                    weight += directions[n, 0, j, c].item() * gradients[n, k, c].mean().item()
                expected[n, k] += max(weight, 0.0) * maps[n, 0, j]
    assert_close(deep_feature_factorization(activations, gradients), expected)


def test_is_grad_cam_where_every_part_speaks_for_the_score() -> None:
    gradients = torch.tensor([1, 2, 3]).double()[:, None, None].expand(3, 2, 3)
    found = deep_feature_factorization(parts(), gradients, concepts=2)
    assert_close(found, grad_cam(parts(), gradients), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6])
def test_small_activations_have_the_same_parts(scale: float) -> None:
    maps, directions = concepts(drawn(3)[0], 2)
    small, same = concepts(drawn(3)[0] * scale, 2)
    assert_close(small / scale, maps, rtol=1e-6, atol=1e-8)
    assert_close(same, directions, rtol=1e-6, atol=1e-8)


def test_negative_activations_count_nothing() -> None:
    signed = drawn(4)[0]
    assert torch.equal(concepts(signed, 2)[0], concepts(signed.relu(), 2)[0])


def test_concepts_without_room_or_without_activations_are_0() -> None:
    maps, directions = concepts(drawn(5)[0], 5)  # of 3 channels
    assert maps[:, :, :3].flatten(3).any(3).all()
    assert not maps[:, :, 3:].any()
    assert not directions[:, :, 3:].any()
    lone = torch.cat([3 * plane([1, 0, 2]), 4 * plane([1, 0, 2]), 0 * plane([1, 0, 2])])  # of rank one
    maps, directions = concepts(lone, 2)
    product = torch.einsum("jc,jhw->chw", directions, maps)
    assert_close(product, lone, rtol=1e-3, atol=1e-2)
    assert maps.isfinite().all()


def test_a_dead_layer_gives_zeros() -> None:
    assert torch.equal(deep_feature_factorization(*dead()), torch.zeros(2, 4, 5).double())
    maps, directions = concepts(dead()[0], 3)
    assert not maps.any()
    assert not directions.any()


def test_a_batch_is_its_images_and_repeats_bit_for_bit() -> None:
    activations, gradients = drawn(6)
    found = deep_feature_factorization(activations, gradients)
    assert torch.equal(deep_feature_factorization(activations, gradients), found)
    assert_close(deep_feature_factorization(activations[1:], gradients[1:]), found[1:])


def test_parts_that_are_still_improving_are_taken_as_they_are_without_a_warning() -> None:
    rough = torch.rand(20, 12, generator=torch.Generator().manual_seed(11)).double()
    maps, directions = concepts(rough.T.reshape(12, 4, 5), 4)
    product = maps.flatten(1).T @ directions
    assert float((product - rough).norm()) <= 1.1 * by_updates(rough, 4)


def test_refuses_no_concepts() -> None:
    with pytest.raises(MethodError, match="at least 1 concept is looked for, got 0"):
        deep_feature_factorization(*drawn(0), concepts=0)


def test_equals_pytorch_grad_cam_where_the_parts_are_clear() -> None:
    """But for the order and the lengths, which it leaves open; it has no map of a score."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = pytest.importorskip("pytorch_grad_cam", reason="pytorch-grad-cam isn't installed")
        directions, maps = peer.feature_factorization.deep_feature_factorization.dff(parts()[None].numpy(), 2)
    theirs = torch.from_numpy(maps)[0] * torch.from_numpy(directions).norm(dim=0)[:, None, None]
    theirs = theirs[theirs.flatten(1).norm(dim=1).argsort(descending=True)]
    assert_close(theirs, concepts(parts(), 2)[0], rtol=1e-3, atol=1e-2)
