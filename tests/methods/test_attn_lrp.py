"""AttnLRP against the paper's propositions as loops, the same as a gradient of a net rewritten, and cases by hand."""

from typing import Any

import pytest
import torch
from nets import Residual, image, roughened, seeded
from test_propagation import shared_by_loops
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close
from vits import Uniform, hugging_face, swin, timm_vit, torchvision_vit

import sightline
from sightline.errors import MethodError
from sightline.types import Share, Sharing

EXACT = sightline.methods.method("attn-lrp").set(gamma=0, epsilon=0)


class Halved(torch.autograd.Function):
    """A value whose gradient is halved."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient / 2


def normed(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    std = (x.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt().detach()
    return (x - mean) / std * norm.weight + norm.bias


def rewritten(net: Any, images: Tensor) -> Tensor:
    """torchvision's vision transformer, so that input x gradient is AttnLRP without an epsilon.

    That is how the authors' code has it: products halve the gradient, standard deviations are
    constants, and an activation f(x) is x times the constant f(x) / x.
    """
    tokens = net.conv_proj(images).flatten(2).transpose(1, 2)
    tokens = torch.cat([net.class_token.expand(len(images), -1, -1), tokens], 1) + net.encoder.pos_embedding
    for block in net.encoder.layers:
        attention = block.self_attention
        inner = normed(block.ln_1, tokens) @ attention.in_proj_weight.T + attention.in_proj_bias
        query, key, value = inner.unflatten(2, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
        weights = (Halved.apply(query @ key.transpose(2, 3)) / query.shape[-1] ** 0.5).softmax(-1)
        mixed = Halved.apply(weights @ value).transpose(1, 2).flatten(2)
        tokens = tokens + attention.out_proj(mixed)
        hidden = block.mlp[0](normed(block.ln_2, tokens))
        tokens = tokens + block.mlp[3](hidden * (functional.gelu(hidden) / hidden).detach())
    return net.heads(normed(net.encoder.ln, tokens)[:, 0])


def test_equals_input_times_gradient_of_the_net_rewritten() -> None:
    net, images = torchvision_vit(layers=3, grid=2).double(), image(2, 16, 16, dtype=torch.float64)
    leaf = images.clone().requires_grad_()
    scores = rewritten(net, leaf)
    assert_close(scores, net(images))
    true = [leaf * torch.autograd.grad(scores[:, k].sum(), leaf, retain_graph=True)[0] for k in (1, 4)]
    found = sightline.maps(net, images, [[1, 4]] * 2, method=EXACT)
    assert_close(found, torch.stack(true, 1).sum(2).detach(), rtol=1e-9, atol=1e-12)


class Attending(nn.Module):
    """Pixels are tokens of three features: a layer norm, attention of one head, and a mean that is scored."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.qkv, self.head = nn.LayerNorm(3), nn.Linear(3, 6), nn.Linear(2, 2)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.norm(images.flatten(2).transpose(1, 2))
        query, key, value = self.qkv(tokens).chunk(3, -1)
        return self.head(functional.scaled_dot_product_attention(query, key, value).mean(1))


@pytest.mark.parametrize("epsilon", [0.0, 0.05])
def test_equals_the_paper(epsilon: float) -> None:
    """Propositions 3.1 and 3.3 in their own indices, and the epsilon rule for what is linear, unit by unit."""
    net, images = seeded(Attending).double(), image(1, 2, 2, dtype=torch.float64)
    nn.init.normal_(net.norm.bias, generator=torch.Generator().manual_seed(1))
    sharing = Sharing(Share.EPSILON, Share.EPSILON, Share.EPSILON, epsilon=epsilon)

    def linear(of: Any, x: Tensor, relevance: Tensor) -> Tensor:
        return shared_by_loops(Share.EPSILON, sharing, of, x, relevance)

    def product(a: Tensor, b: Tensor, relevance: Tensor) -> tuple[Tensor, Tensor]:
        of_a, of_b = torch.zeros_like(a), torch.zeros_like(b)
        for j in range(len(a)):
            for p in range(b.shape[1]):
                total = 2 * float(a[j] @ b[:, p])
                whole = total + (epsilon if total >= 0 else -epsilon)
                for i in range(len(b)):
                    share = float(a[j, i] * b[i, p] * relevance[j, p]) / whole
                    of_a[j, i] += share
                    of_b[i, p] += share
        return of_a, of_b

    with torch.no_grad():
        x = images.flatten(2).transpose(1, 2)
        tokens = net.norm(x)
        query, key, value = (part[0] for part in net.qkv(tokens).chunk(3, -1))
        scale = 2**-0.5
        alike = query @ key.T * scale
        weights = alike.softmax(-1)
        mixed = (weights @ value)[None]
        scores = net.head(mixed.mean(1))
        start = torch.zeros_like(scores)
        start[0, 1] = scores[0, 1]
        of_mean = linear(net.head, mixed.mean(1), start)
        of_mixed = linear(lambda each: each.mean(1), mixed, of_mean)[0]
        of_weights, of_value = product(weights, value, of_mixed)
        of_alike = torch.zeros_like(of_weights)
        for row in range(4):
            for i in range(4):
                of_alike[row, i] = alike[row, i] * (of_weights[row, i] - weights[row, i] * of_weights[row].sum())
        of_query, of_key = product(query, key.T, of_alike)
        of_qkv = torch.cat([of_query, of_key.T, of_value], -1)[None]
        of_tokens = linear(net.qkv, tokens, of_qkv)
        std = (x.var(-1, unbiased=False, keepdim=True) + net.norm.eps).sqrt()
        of = lambda each: (each - each.mean(-1, keepdim=True)) / std * net.norm.weight + net.norm.bias  # noqa: E731
        true = linear(of, x, of_tokens).sum(2).view(1, 2, 2)
    found = sightline.maps(net, images, 1, method=EXACT.set(epsilon=epsilon))
    assert_close(found, true, rtol=1e-9, atol=1e-12)
    assert found.abs().max() > 1e-3


def test_uniform_attention_by_hand() -> None:
    """The class token gets sum_j x_j / T: half of w x_j / T is the values', half the weights', which pass on none."""
    weights, images = torch.tensor([[1.0, -2.0, 0.5], [-1.0, 0.0, 3.0]]), image(2, 2, 3)
    found = sightline.maps(Uniform(weights), images, 1, method=EXACT)
    assert_close(found, (weights[1, :, None, None] * images).sum(1) / 14)


class Gated(nn.Module):
    """What a gate lets through, summed: of two values that depend on the image each gets half."""

    def forward(self, images: Tensor) -> Tensor:
        return (images[:, :1] * images[:, 1:2] * images[:, 2:].mean((2, 3), keepdim=True)).sum((2, 3))


def test_a_product_of_several_halves_again() -> None:
    images = image(2, 2, 3, dtype=torch.float64)
    terms = images[:, 0] * images[:, 1] * images[:, 2].mean((1, 2), keepdim=True)
    of_mean = images[:, 2] / images[:, 2].sum((1, 2), keepdim=True) * terms.sum((1, 2), keepdim=True)
    found = sightline.maps(Gated(), images, 0, method=EXACT)
    assert_close(found, terms / 2 + of_mean / 2)


@pytest.mark.parametrize("gamma", [0.0, 0.05])
def test_fused_and_hand_written_attention_are_alike(gamma: float) -> None:
    method, images = sightline.methods.method("attn-lrp").set(gamma=gamma), image(2, 32, 32)
    nets = [hugging_face(implementation=name) for name in ("sdpa", "eager")]
    first, second = (sightline.maps(net, images, [1, 3], method=method) for net in nets)
    assert_close(first, second, rtol=1e-3, atol=1e-5 * float(first.abs().max()))
    fused, by_hand = timm_vit(), timm_vit()
    for block in by_hand.blocks:
        block.attn.fused_attn = False
    first, second = (sightline.maps(net, images, [1, 3], method=method) for net in (fused, by_hand))
    assert_close(first, second, rtol=1e-3, atol=1e-5 * float(first.abs().max()))


class Masked(nn.Module):
    """Attention of two heads that hides some tokens from others, (N, heads, T, T), by torch's functions or written."""

    def __init__(self, how: str, seen: Tensor) -> None:
        super().__init__()
        self.how, self.seen = how, seen
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.embed, self.head = nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, images: Tensor) -> Tensor:
        tokens, module, seen = self.embed(images.flatten(2).transpose(1, 2)), self.attention, self.seen
        hidden = torch.zeros(seen.shape, dtype=tokens.dtype).masked_fill(~seen, -torch.inf)
        if self.how in ("module", "one for all"):
            mask = ~seen.flatten(0, 1) if self.how == "module" else hidden[0, 0]
            return self.head(module(tokens, tokens, tokens, need_weights=False, attn_mask=mask)[0].mean(1))
        if self.how == "function":
            first = tokens.transpose(0, 1)
            mixed, _ = functional.multi_head_attention_forward(
                first, first, first, 6, 2, module.in_proj_weight, module.in_proj_bias, None, None, False, 0.0,
                module.out_proj.weight, module.out_proj.bias, need_weights=False, attn_mask=~seen.flatten(0, 1),
            )  # fmt: skip
            return self.head(mixed.mean(0))
        inner = functional.linear(tokens, module.in_proj_weight, module.in_proj_bias)
        query, key, value = inner.unflatten(2, (3, 2, 3)).permute(2, 0, 3, 1, 4)
        if self.how == "causal":
            mixed = functional.scaled_dot_product_attention(query * 2, key, value, is_causal=True, scale=0.5 * 3**-0.5)
        elif self.how == "written out":
            mixed = (query @ key.mT / 3**0.5 + hidden).softmax(-1) @ value
        else:
            mixed = functional.scaled_dot_product_attention(query, key, value, seen if self.how == "seen" else hidden)
        return self.head(module.out_proj(mixed.transpose(1, 2).flatten(2)).mean(1))


@pytest.mark.parametrize("how", ["module", "function", "one for all", "causal", "seen", "hidden"])
def test_masks(how: str) -> None:
    drawn = torch.rand(2, 2, 6, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    alike = torch.ones(2, 2, 6, 6, dtype=torch.bool).tril()
    seen = alike if how in ("causal", "one for all") else drawn | torch.eye(6, dtype=torch.bool)
    net, true = (seeded(lambda h=h: Masked(h, seen)).double() for h in (how, "written out"))
    images = image(2, 2, 3, dtype=torch.float64)
    found = sightline.maps(net, images, 1, method=EXACT)
    assert_close(found, sightline.maps(true, images, 1, method=EXACT))
    assert found.any()


@pytest.mark.parametrize("maker", ["torchvision", "timm"])
def test_windows_need_no_more(maker: str) -> None:
    """A Swin's map, and that what only one image sees doesn't change another's."""
    net, images = swin(maker), image(2, 32, 32)
    together = sightline.maps(net, images, [1, 3], method="attn-lrp")
    assert_close(together[1:], sightline.maps(net, images[1:], 3, method="attn-lrp"), rtol=1e-3, atol=1e-6)
    assert together.flatten(1).any(1).all()


def test_is_gamma_lrp_on_a_net_without_attention() -> None:
    net, images = roughened(seeded(Residual)), image(2, 8, 6)
    found = sightline.maps(net, images, 1, method=sightline.methods.method("attn-lrp").set(gamma=0.3))
    assert torch.equal(found, sightline.maps(net, images, 1, method="lrp-gamma:gamma=0.3"))


class Odd(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.head = how, nn.Linear(6, 2)
        options = {"biases": {"add_bias_kv": True}, "zeros": {"add_zero_attn": True}, "projections": {"kdim": 4}}
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True, **options.get(how, {}))
        self.embed, self.group = nn.Linear(3, 6), nn.GroupNorm(2, 6)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(images.flatten(2).transpose(1, 2))
        if self.how == "group norm":
            return self.head(self.group(tokens.mT).mean(2))
        keys = tokens[..., :4] if self.how == "projections" else tokens
        given: dict[str, Any] = {"need_weights": self.how == "weights"}
        if self.how == "keys":
            given["key_padding_mask"] = torch.zeros(tokens.shape[:2], dtype=torch.bool)
        if self.how == "dropout":
            return self.head(functional.scaled_dot_product_attention(tokens, tokens, tokens, dropout_p=0.5).mean(1))
        return self.head(self.attention(tokens, keys, tokens, **given)[0].mean(1))


@pytest.mark.parametrize("how", ["biases", "zeros", "projections", "weights", "keys", "dropout", "group norm"])
def test_what_is_not_taken_apart_is_refused_by_name(how: str) -> None:
    words = {"dropout": "scaled_dot_product_attention with dropout", "group norm": "group_norm"}
    with pytest.raises(MethodError, match=words.get(how, "multi_head_attention_forward")):
        sightline.maps(seeded(lambda: Odd(how)), image(2, 2, 3), 0, method="attn-lrp")


@pytest.mark.parametrize("options", [{"gamma": -1.0}, {"gamma": float("nan")}, {"epsilon": -1.0}])
def test_options_are_checked(options: dict[str, float]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(MethodError, match=f"attn-lrp takes an? {name} of 0 or more, got {name}={value}"):
        sightline.maps(torchvision_vit(), image(2, 32, 32), 0, method=EXACT.set(**options))
