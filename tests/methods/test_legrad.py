"""LeGrad against its definition written as loops, cases solved by hand, and torchcam's."""

from typing import Any

import pytest
import torch
from nets import image, seeded
from torch import Tensor, nn
from torch.testing import assert_close
from vits import Uniform, by_hand, hugging_face, timm_vit, torchvision_vit

import sightline
from sightline.errors import MethodError


def as_defined(scores: list[Tensor], attentions: list[Tensor], target: int) -> Tensor:
    """1/L sum_l 1/(h T) sum_h sum_i relu(d s^l / d A^l_h,i,.), s^l block l's own score; the columns (N, T)."""
    n_, h_, t_, _ = attentions[0].shape
    total = torch.zeros(n_, t_, dtype=attentions[0].dtype)
    for own, weights in zip(scores, attentions, strict=True):
        (slopes,) = torch.autograd.grad(own[:, target].sum(), weights, retain_graph=True)
        for n in range(n_):
            for head in range(h_):
                for i in range(t_):
                    for j in range(t_):
                        total[n, j] += max(slopes[n, head, i, j].item(), 0) / (h_ * t_ * len(scores))
    return total


@pytest.mark.parametrize("target", [0, 3])
def test_equals_its_definition(target: int) -> None:
    net, images = torchvision_vit(layers=3, grid=2).double(), image(2, 16, 16, dtype=torch.float64)
    _, attentions, outputs = by_hand(net, images)
    own = [net.heads(net.encoder.ln(tokens.mean(1))) for tokens in outputs]
    true = as_defined(own, attentions, target)[:, 1:].view(2, 2, 2)
    assert_close(sightline.maps(net, images, target, method="legrad"), true)


@pytest.mark.parametrize("layers", [1, 3, 5])
def test_equals_torchcam(layers: int) -> None:
    """Five layers too: torchvision's MLPs are sequences of five parts, and no blocks."""
    methods = pytest.importorskip("torchcam.methods")
    net, images = torchvision_vit(layers=layers), image(2, 32, 32)
    with methods.LeGrad(net, list(net.encoder.layers)) as theirs:
        net(images)
        maps = theirs(3, normalized=False)
    true = torch.stack(maps).mean(0) if len(maps) > 1 else maps[0]
    assert_close(sightline.maps(net, images, 3, method="legrad"), true.detach(), rtol=1e-4, atol=1e-7)


def test_one_block_of_uniform_attention() -> None:
    """The mean token is mean_i (x_i + sum_j A_ij x_j): each row's gradient is w x_j / T, and so is the rows' mean."""
    weights = torch.tensor([[1.0, -2.0, 0.5], [-1.0, 0.0, 3.0]])
    images = image(2, 2, 3)
    found = sightline.maps(Uniform(weights), images, 1, method="legrad")
    assert_close(found, (weights[1, :, None, None] * images).sum(1).relu() / 7)


def test_two_blocks_each_have_their_own_score() -> None:
    """Of uniform attention: the second block sees tokens x + mean(x), the first is not followed through it."""
    weights, images = torch.tensor([[1.0, -2.0, 0.5]]), image(2, 2, 3)
    second = images + images.sum((2, 3), keepdim=True) / 7
    true = sum((weights[0, :, None, None] * x).sum(1).relu() / 7 for x in (images, second)) / 2
    assert_close(sightline.maps(Uniform(weights, blocks=2), images, 0, method="legrad"), true)


@pytest.mark.parametrize(
    ("build", "read"),
    [
        (timm_vit, lambda net, mean: net.head(net.norm(mean))),
        (lambda: timm_vit(global_pool="avg"), lambda net, mean: net.head(net.fc_norm(mean))),
        (lambda: timm_vit(global_pool="avg", class_token=False), lambda net, mean: net.head(net.fc_norm(mean))),
        (hugging_face, lambda net, mean: net.classifier(net.vit.layernorm(mean))),
    ],
    ids=["class token", "mean of patches", "no class token", "hugging face"],
)
def test_a_block_is_scored_by_its_mean_token_read_by_the_head(build: Any, read: Any) -> None:
    """The blocks' own scores from the same net with attention written out, which shows its weights to a hook."""
    net, images, seen, outputs = build(), image(2, 32, 32), [], []
    blocks = net.vit.layers if hasattr(net, "vit") else net.blocks
    found = sightline.maps(net, images, 1, method="legrad")
    handles = [block.register_forward_hook(lambda m, i, output: outputs.append(output)) for block in blocks]
    if hasattr(net, "vit"):
        net.set_attn_implementation("eager")
        seen += net(images, output_attentions=True).attentions
    else:
        for block in blocks:
            block.attn.fused_attn = False
            handles.append(block.attn.attn_drop.register_forward_hook(lambda m, i, output: seen.append(output)))
        net(images)
    for handle in handles:
        handle.remove()
    columns = as_defined([read(net, tokens.mean(1)) for tokens in outputs], seen, 1)
    assert_close(found, columns[:, columns.shape[1] - 16 :].view(2, 4, 4), rtol=1e-4, atol=1e-7)


def test_targets_and_images_together_equal_each_alone() -> None:
    net, images = timm_vit(), image(2, 32, 32)
    found = sightline.maps(net, images, [[0, 3], [2, 1]], method="legrad")
    for n, k, target in ((0, 0, 0), (0, 1, 3), (1, 0, 2), (1, 1, 1)):
        alone = sightline.maps(net, images[n : n + 1], target, method="legrad")
        assert_close(found[n, k], alone[0], rtol=1e-4, atol=1e-7)


def test_the_predicted_class_is_that_of_the_whole_net_in_every_block() -> None:
    net, images = torchvision_vit(layers=4, std=0.5), image(6, 32, 32)
    _, _, outputs = by_hand(net, images)
    own = torch.stack([net.heads(net.encoder.ln(tokens.mean(1))).argmax(1) for tokens in outputs])
    predicted = net(images).argmax(1)
    assert (own != predicted).any()  # or this test tests nothing
    true = sightline.maps(net, images, predicted.tolist(), method="legrad")
    assert_close(sightline.maps(net, images, method="legrad"), true)


class Listed(nn.Module):
    """Attentions and MLPs in two lists, added to the tokens outside of both: no module gives a block's tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([nn.MultiheadAttention(6, 2, batch_first=True) for _ in range(2)])
        self.mlps = nn.ModuleList([nn.Linear(6, 6) for _ in range(2)])
        self.embed, self.head = nn.Conv2d(3, 6, 1), nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        for attention, mlp in zip(self.attentions, self.mlps, strict=True):
            tokens = tokens + attention(tokens, tokens, tokens)[0]
            tokens = tokens + mlp(tokens).tanh()
        return self.head(tokens.mean(1))


class Repeated(nn.Module):
    """One block, passed twice."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(nn.TransformerEncoderLayer(6, 2, 8, batch_first=True))
        self.embed, self.head = nn.Conv2d(3, 6, 1), nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        return self.head(self.blocks(self.blocks(tokens)).mean(1))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
        self.second = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.second(self.first(tokens))


class Lopsided(nn.Module):
    """Two attentions in the first of two parts."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.Sequential(Twice(), nn.LayerNorm(6))
        self.embed, self.head = nn.Conv2d(3, 6, 1), nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.parts(self.embed(images).flatten(2).transpose(1, 2)).mean(1))


@pytest.mark.parametrize("build", [Listed, Repeated, Lopsided], ids=["in two lists", "one block twice", "in one part"])
def test_without_a_list_of_blocks_it_is_refused(build: type[nn.Module]) -> None:
    net, images = seeded(build), image(2, 2, 3)
    with pytest.raises(MethodError, match=r"one for each attention.*has none for its 2 attentions"):
        sightline.maps(net, images, 0, method="legrad")
    assert sightline.maps(net, images, 0, method="attention-relevance").any()  # which needs no blocks
