"""Attention rollout against the paper's eq. 1 written as loops, and against cases solved by hand."""

from typing import Any

import pytest
import torch
from nets import image
from torch import Tensor, nn
from torch.testing import assert_close
from vits import Uniform, by_hand, drawn, hugging_face, timm_vit, torchvision_vit

import sightline


def as_in_the_paper(attentions: list[Tensor]) -> Tensor:
    """Eq. 1 in its own indices: A~(l_i) = A(l_i) A~(l_{i-1}), A = 0.5 W_att + 0.5 I, heads averaged; (N, T, T)."""
    n_, h_, t_, _ = attentions[0].shape
    rolled = torch.eye(t_, dtype=attentions[0].dtype).repeat(n_, 1, 1)
    for weights in attentions:
        after = torch.zeros_like(rolled)
        for n in range(n_):
            for i in range(t_):
                for j in range(t_):
                    for k in range(t_):
                        averaged = sum(weights[n, head, i, k].item() for head in range(h_)) / h_
                        after[n, i, j] += (0.5 * averaged + 0.5 * (i == k)) * rolled[n, k, j].item()
        rolled = after
    return rolled


def test_equals_the_paper() -> None:
    net, images = torchvision_vit(layers=3, grid=2).double(), image(2, 16, 16, dtype=torch.float64)
    true = as_in_the_paper(by_hand(net, images)[1])[:, 0, 1:].view(2, 2, 2)
    assert_close(sightline.maps(net, images, 1, method="attention-rollout"), true)


@pytest.mark.parametrize(("blocks", "share"), [(1, 1 / 2), (2, 3 / 4), (3, 7 / 8)])
def test_uniform_attention(blocks: int, share: float) -> None:
    """(I / 2 + U / 2)^L = I / 2^L + (1 - 1 / 2^L) U for the projection U, whose every entry is 1 / T."""
    net = Uniform(torch.ones(2, 3), blocks=blocks)
    found = sightline.maps(net, image(1, 2, 3), 0, method="attention-rollout")
    assert_close(found, torch.full((1, 2, 3), share / 7))


def test_is_the_same_for_every_class() -> None:
    found = sightline.maps(timm_vit(), image(2, 32, 32), [[0, 1, 4]] * 2, method="attention-rollout")
    assert_close(found, found[:, :1].expand_as(found), rtol=0, atol=0)


def eager(kind: str) -> nn.Module:
    return hugging_face(kind, implementation="eager")


class OfPatches(nn.Module):
    """A Hugging Face net read at the mean of its patch tokens, where its own head reads the class token."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images, output_hidden_states=True).hidden_states[-1][:, 1:].mean(1)


@pytest.mark.parametrize(
    ("build", "rows", "prefix"),
    [
        (lambda: eager("ViTForImageClassification"), slice(0, 1), 1),
        (lambda: eager("DeiTForImageClassificationWithTeacher"), slice(0, 2), 2),
        (lambda: eager("Dinov2ForImageClassification"), slice(0, None), 1),
        (lambda: OfPatches(eager("ViTForImageClassification")), slice(1, None), 1),
    ],
    ids=["class token", "two tokens", "all tokens", "patches"],
)
def test_rows_are_those_that_the_score_reads(build: Any, rows: slice, prefix: int) -> None:
    """Against the attention matrices that Hugging Face gives out itself."""
    net, images = build().eval(), image(2, 32, 32)
    with torch.no_grad():
        weights = [each.double() for each in getattr(net, "inner", net)(images, output_attentions=True).attentions]
    true = as_in_the_paper(weights)[:, rows, prefix:].mean(1).view(2, 4, 4)
    assert_close(sightline.maps(net, images, 1, method="attention-rollout"), true.float())


@pytest.mark.parametrize(("prefix", "expected"), [(True, 1 / 2 / 7), (False, 1 / 6)])
def test_a_dead_head_reads_the_class_token_or_all(prefix: bool, expected: float) -> None:
    """Uniform attention: from the class token each patch has 1/2 of 1/T, from the mean token 1/2 of 1/T and its own."""
    net = Uniform(torch.zeros(2, 3), prefix=prefix)
    found = sightline.maps(net, image(1, 2, 3), 0, method="attention-rollout")
    assert_close(found, torch.full((1, 2, 3), expected))


def test_a_batch_equals_its_images() -> None:
    net, images = torchvision_vit(), image(3, 32, 32)
    both = sightline.maps(net, images, 1, method="attention-rollout")
    each = [sightline.maps(net, one[None], 1, method="attention-rollout") for one in images]
    assert_close(both, torch.cat(each))


def test_an_attention_that_masks_a_token_wholly() -> None:
    """scaled_dot_product_attention gives a token that may look nowhere a row of zeros: it keeps to itself."""
    net = drawn(Masked)
    found = sightline.maps(net, image(1, 2, 3, dtype=torch.float32), 0, method="attention-rollout")
    itself, others = torch.eye(6)[:1], (torch.eye(6) + torch.full((6, 6), 1 / 6))[1:] / 2
    assert_close(found.flatten(), torch.cat([itself, others]).mean(0))


class Masked(nn.Module):
    """Uniform attention over six pixels by the fused call, of which the first may look nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.proj, self.head = nn.Conv2d(3, 4, 1), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        mask = torch.ones(6, 6, dtype=torch.bool)
        mask[0] = False
        heads = tokens[:, None]
        mixed = nn.functional.scaled_dot_product_attention(0 * heads, heads, heads, attn_mask=mask)[:, 0]
        return self.head((tokens + self.proj(mixed)).tanh().mean(1))
