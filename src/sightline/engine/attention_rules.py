"""How relevance goes back through transformers: AttnLRP (Achtibat et al., ICML 2024, arXiv 2402.05602).

- a product of two activations, a matrix product or elementwise: half to each factor, and there by
  contribution (propositions 3.2 and 3.3);
- softmax s of x: R_x = x (R - s sum R), by Taylor expansion at x without its constant term (proposition 3.1);
- layer norm: by contribution to (x - mean) / std, the standard deviation taken as a constant, its
  bias keeping a share (proposition 3.4 lets all pass, for a norm that subtracts no mean).

Fused attention is taken apart into these.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sightline.engine.rules import (
    MULTIPLES,
    Call,
    Passage,
    Product,
    Refused,
    Step,
    matrix_product,
    multiplied,
    over,
    stabilised,
)
from sightline.outputs import wide
from sightline.types import Share


def _multiplied(passage: Passage, call: Call) -> Step:
    if not all(map(passage.is_activation, call.args[:2])) or "div" in call.name:
        return multiplied(passage, call)
    sources = call.sources

    def back(relevance: Tensor) -> Sequence[Tensor | None]:
        return [(relevance / 2).sum_to_size(source.shape) for source in sources]

    return Step(call.result(), sources, back)


def _matrix_product(passage: Passage, call: Call) -> Step:
    factors = call.args[:2]
    if not all(map(passage.is_activation, factors)):
        return matrix_product(passage, call)
    leaves = [wide(source.detach()).requires_grad_() for source in call.sources]
    product = call.run(leaves)

    def back(relevance: Tensor) -> Sequence[Tensor | None]:
        ratio = over(wide(relevance), stabilised(2 * product.detach(), passage.sharing.epsilon))
        shares = torch.autograd.grad(product, leaves, ratio, retain_graph=True)
        return [leaf.detach() * share for leaf, share in zip(leaves, shares, strict=True)]

    return Step(call.result(), call.sources, back)


def _softmax(passage: Passage, call: Call) -> Step:
    """Masked places, whose x is minus infinity and s 0, get nothing."""
    given = call.given("input", "dim")
    (source,), result = call.sources, call.result()
    share, dim = wide(result), given["dim"]

    def back(relevance: Tensor) -> Sequence[Tensor | None]:
        relevance = wide(relevance)
        change = relevance - share * relevance.sum(dim, keepdim=True)
        return [torch.where(share != 0, wide(source.detach()) * change, 0)]

    return Step(result, [source], back)


def _layer_norm(passage: Passage, call: Call) -> Step:
    given = call.given("input", "normalized_shape", "weight", "bias", "eps")
    if len(call.sources) != 1 or given["input"] is not call.sources[0]:
        raise Refused(f"has no rule for {call} with weights that depend on the image")
    (source,), weight, bias = call.sources, given.get("weight"), given.get("bias")
    dims = tuple(range(-len(given["normalized_shape"]), 0))
    x = wide(source.detach())
    scale = (x.var(dims, unbiased=False, keepdim=True) + given.get("eps", 1e-5)).rsqrt()
    scale = scale if weight is None else scale * wide(weight.detach())

    def of(x: Tensor, w: Tensor) -> Tensor:
        return (x - x.mean(dims, keepdim=True)) * w

    product = Product(of, source, scale, None if bias is None else wide(bias.detach()), Share.EPSILON)
    return product.step(passage, call.result())


def _attention(passage: Passage, call: Call) -> Any:
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
    given: dict[str, Any] = {**dict.fromkeys(names), **call.given(*names)}
    if given["dropout_p"] or given["enable_gqa"] or (given["is_causal"] and given["attn_mask"] is not None):
        raise Refused(f"has no rule for {call} with dropout, grouped queries, or two masks")
    mask = given["attn_mask"]
    with passage:
        return _attended(given["query"], given["key"], given["value"], mask, given["scale"], bool(given["is_causal"]))


def _attended(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float | None = None, causal: bool = False
) -> Tensor:
    alike = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        mask = torch.ones(alike.shape[-2:], dtype=torch.bool, device=query.device).tril()
    if mask is not None:
        alike = alike.masked_fill(~mask, -torch.inf) if mask.dtype is torch.bool else alike + mask
    return alike.softmax(-1) @ value


_MULTI_HEAD = (
    "query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k", "bias_v",
    "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias", "training", "key_padding_mask", "need_weights",
    "attn_mask", "use_separate_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "static_k",
    "static_v", "average_attn_weights", "is_causal",
)  # fmt: skip


def _multi_head_attention(passage: Passage, call: Call) -> Any:
    """torch's own, of query, key and value (tokens, N, features); without the weights that it can give beside."""
    given: dict[str, Any] = {**dict.fromkeys(_MULTI_HEAD), **call.given(*_MULTI_HEAD)}
    odd = ("bias_k", "bias_v", "add_zero_attn", "key_padding_mask", "static_k", "static_v", "use_separate_proj_weight")
    if any(given[name] is not None and given[name] is not False for name in odd) or given["query"].ndim != 3:
        raise Refused(f"has no rule for {call} with masks for keys, biases for keys or projections of their own")
    if given["need_weights"]:
        raise Refused(f"has no rule for {call} that gives its weights too")
    heads, weight, bias = given["num_heads"], given["in_proj_weight"], given["in_proj_bias"]
    with passage:
        weights, biases = weight.chunk(3), (None,) * 3 if bias is None else bias.chunk(3)
        sources = (given["query"], given["key"], given["value"])
        query, key, value = (
            functional.linear(each, w, b).view(*each.shape[:2], heads, -1).permute(1, 2, 0, 3)
            for each, w, b in zip(sources, weights, biases, strict=True)
        )
        mask = given["attn_mask"]
        if mask is not None:
            mask = mask if mask.ndim == 2 else mask.view(-1, heads, *mask.shape[1:])
            mask = ~mask if mask.dtype is torch.bool else mask  # here True is what can't be seen
        mixed = _attended(query, key, value, mask).permute(2, 0, 1, 3).flatten(2)
        return functional.linear(mixed, given["out_proj_weight"], given["out_proj_bias"]), None


ATTENTION_RULES = (
    (MULTIPLES, _multiplied),
    ({"matmul", "bmm"}, _matrix_product),
    ({"softmax"}, _softmax),
    ({"layer_norm"}, _layer_norm),
    ({"scaled_dot_product_attention"}, _attention),
    ({"multi_head_attention_forward"}, _multi_head_attention),
)
