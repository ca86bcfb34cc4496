"""Attention relevance against the paper's eqs. 5 and 6 written as loops, and against cases solved by hand."""

import pytest
import torch
from nets import image
from torch import Tensor
from torch.testing import assert_close
from vits import Uniform, by_hand, timm_vit, torchvision_vit

import sightline


def as_in_the_paper(attentions: list[Tensor], gradients: list[Tensor]) -> Tensor:
    """Eq. 5, A-bar = E_h((grad A x A)^+), and eq. 6, R <- R + A-bar R from R = I, in their own indices; (N, T, T)."""
    n_, h_, t_, _ = attentions[0].shape
    relevance = torch.eye(t_, dtype=attentions[0].dtype).repeat(n_, 1, 1)
    for weights, slopes in zip(attentions, gradients, strict=True):
        after = relevance.clone()
        for n in range(n_):
            for i in range(t_):
                for k in range(t_):
                    parts = [max((slopes[n, h, i, k] * weights[n, h, i, k]).item(), 0) for h in range(h_)]
                    for j in range(t_):
                        after[n, i, j] += sum(parts) / h_ * relevance[n, k, j].item()
        relevance = after
    return relevance


@pytest.mark.parametrize("target", [0, 3])
def test_equals_the_paper(target: int) -> None:
    net, images = torchvision_vit(layers=3, grid=2).double(), image(2, 16, 16, dtype=torch.float64)
    scores, attentions, _ = by_hand(net, images)
    gradients = torch.autograd.grad(scores[:, target].sum(), attentions)
    true = as_in_the_paper(attentions, list(gradients))[:, 0, 1:].view(2, 2, 2)
    assert_close(sightline.maps(net, images, target, method="attention-relevance"), true)


def test_one_block_of_uniform_attention() -> None:
    """The class token gets sum_j x_j / T, so that patch j's gradient is w x_j, and its relevance relu(w x_j) / T."""
    weights = torch.tensor([[1.0, -2.0, 0.5], [-1.0, 0.0, 3.0]])
    images = image(2, 2, 3)
    found = sightline.maps(Uniform(weights), images, 1, method="attention-relevance")
    assert_close(found, (weights[1, :, None, None] * images).sum(1).relu() / 7)


def test_without_a_class_token_a_patch_is_not_relevant_to_itself_alone() -> None:
    """The mean token's gradient in A_ij is w x_j / T, for each of the T rows that are averaged; I is left out."""
    weights = torch.tensor([[1.0, -2.0, 0.5]])
    images = image(2, 2, 3)
    found = sightline.maps(Uniform(weights, prefix=False), images, 0, method="attention-relevance")
    assert_close(found, (weights[0, :, None, None] * images).sum(1).relu() / 36)


def test_two_blocks_of_uniform_attention() -> None:
    """Worked through eq. 6: R_0 = a_2 + a_1 + a_2 A-bar_1, where a_l is the class token's row of A-bar_l."""
    w, images = torch.tensor([[1.0, -2.0, 0.5]]).double(), image(1, 2, 3, dtype=torch.float64)
    x0 = torch.cat([torch.zeros(1, 3), images[0].flatten(1).T]).double()
    x1 = x0 + x0.mean(0)
    # The score is w (x1_0 + mean_i x1_i): x1_0's change counts 1 + 1/7, another token's 1/7.
    second = torch.zeros(7, 7).double()
    second[0] = (x1 @ w[0]).relu() / 7
    first = torch.outer(torch.tensor([8.0, 1, 1, 1, 1, 1, 1]).double() / 7, x0 @ w[0]).relu() / 7
    true = (first + second + second @ first)[0, 1:].view(1, 2, 3)
    net = Uniform(w, blocks=2).double()
    assert_close(sightline.maps(net, images, 0, method="attention-relevance"), true)


def test_a_score_that_nothing_changes_has_no_relevance() -> None:
    found = sightline.maps(Uniform(torch.zeros(2, 3)), image(1, 2, 3), 0, method="attention-relevance")
    assert torch.equal(found, torch.zeros(1, 2, 3))


def test_tiny_scores_keep_their_digits() -> None:
    """A map of 1e-9 isn't lost beside the identity's ones."""
    w, images = torch.tensor([[1.0, -2.0, 0.5]]), image(2, 2, 3)
    found = sightline.maps(Uniform(w * 2**-30), images, 0, method="attention-relevance")
    assert_close(found * 2**30, sightline.maps(Uniform(w), images, 0, method="attention-relevance"))


def test_targets_and_images_together_equal_each_alone() -> None:
    net, images = timm_vit(), image(2, 32, 32)
    found = sightline.maps(net, images, [[0, 3], [2, 1]], method="attention-relevance")
    for n, k, target in ((0, 0, 0), (0, 1, 3), (1, 0, 2), (1, 1, 1)):
        alone = sightline.maps(net, images[n : n + 1], target, method="attention-relevance")
        assert_close(found[n, k], alone[0], rtol=1e-4, atol=1e-7)
