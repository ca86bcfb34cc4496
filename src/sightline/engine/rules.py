"""How relevance goes back through a torch function: the rules, and which function takes which, by its name.

For a weighted sum z = f(x, w) + b it is, in one formula for all of them,
R_x = sum_p x_p f'_x(x_p, w_p)^T (R / z'), with the parts (x_p, w_p) and the whole z'

- EPSILON: (x, w), z' = z + epsilon sign(z), where sign(0) = 1;
- PLUS: (x+, w+) and (x-, w-), z' = f(x+, w+) + f(x-, w-), without the bias;
- GAMMA: where z > 0 (x+, w + gamma w+) and (x-, w + gamma w-), z' = their sum + b + gamma b+; where
  z < 0 the same with + and - changed in w and b;
- FLAT: each x by its number of ways to z, z' = all of them.

Where z' = 0 nothing goes back. Half precision is shared in float32.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.nn import functional
from torch.overrides import resolve_name
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from sightline.outputs import wide
from sightline.types import Share, Sharing

# Weighted sums: Sharing.convolution and Sharing.linear, or Sharing.first where they read the image.
_CONVOLUTIONS = {f"conv{how}{rank}d" for how in ("", "_transpose") for rank in (1, 2, 3)}
_PRODUCTS = {"linear", "matmul", "mm", "bmm"}

# Sums with weights that aren't learnt, none negative: Sharing.sums, or Sharing.first on the image.
_MEANS = {
    *(f"{how}avg_pool{rank}d" for how in ("", "adaptive_") for rank in (1, 2, 3)),
    *("mean", "sum", "interpolate", "upsample", "fold"),
}

# Sums of two, with the sign of each; what doesn't depend on the image counts as a bias. The same rules.
_ADDITIONS = {
    **dict.fromkeys(("add", "__radd__"), (1, 1)),
    **dict.fromkeys(("sub", "subtract"), (1, -1)),
    **dict.fromkeys(("rsub", "__rsub__"), (-1, 1)),
}

# Multiples by what doesn't depend on the image: relevance passes.
MULTIPLES = {"mul", "multiply", "__rmul__", "div", "divide", "true_divide", "__truediv__", "neg", "negative"}

# Of one value each: relevance passes.
_ACTIVATIONS = {
    *("celu", "clamp", "clamp_max", "clamp_min", "clip", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish"),
    *("hardtanh", "leaky_relu", "logsigmoid", "mish", "prelu", "relu", "relu6", "rrelu", "selu", "sigmoid", "silu"),
    *("softplus", "softshrink", "softsign", "tanh", "tanhshrink", "threshold"),
}

# Dropout, where it drops nothing.
_DROPOUTS = {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"}

# Values moved, copied, cast or picked, as the largest of a window is: relevance goes with them, as a gradient would.
_MOVES = {
    *("__get__", "__getitem__", "amax", "broadcast_to", "cat", "channel_shuffle", "chunk", "clone", "concat"),
    *("concatenate", "contiguous", "double", "expand", "expand_as", "flatten", "flip", "float", "gather", "half"),
    *("index_select", "masked_fill", "max", "maximum", "moveaxis", "movedim", "narrow", "native_channel_shuffle"),
    *("pad", "permute", "pixel_shuffle", "pixel_unshuffle", "ravel", "repeat", "repeat_interleave", "requires_grad"),
    *("reshape", "reshape_as", "roll", "select", "split", "split_with_sizes", "squeeze", "stack", "swapaxes"),
    *("swapdims", "t", "tensor_split", "tile", "to", "transpose", "type", "type_as", "unbind", "unflatten", "unfold"),
    *("unsqueeze", "view", "view_as", "where"),
    *(f"{how}max_pool{rank}d" for how in ("", "adaptive_") for rank in (1, 2, 3)),
    *(f"{how}max_pool{rank}d_with_indices" for how in ("", "adaptive_") for rank in (1, 2, 3)),
}

Back = Callable[..., Sequence[Tensor | None]]


@dataclass(slots=True, eq=False)
class Step:
    """What a torch function gave (tensors, in any container), and how relevance goes back to its sources."""

    result: Any
    sources: list[Tensor]
    back: Back
    product: "Product | None" = None  # where it is a weighted sum
    refusal: str = ""
    of_image: bool = False  # whether it is the image still, weighted by nothing so far


def step_of(node: Node | None) -> Step | None:
    """The step that a node of the graph stands for, if one of ours."""
    step = getattr(node, "step", None)
    return step if isinstance(step, Step) else None


def tensors(result: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]


class Call:
    """A torch function as it was called, and which of the tensors that it was given depend on where relevance ends."""

    def __init__(self, func: Any, args: Any, kwargs: Any, depends: Callable[[Any], bool]) -> None:
        self.func, self.args, self.kwargs = func, args, kwargs
        name = getattr(func, "__name__", "")
        self.name = name if name.startswith("__") else name.rstrip("_")
        self._leaves, self._spec = tree_flatten((args, kwargs))
        self.has_tensors = any(isinstance(leaf, Tensor) for leaf in self._leaves)
        self._places = [i for i, leaf in enumerate(self._leaves) if depends(leaf)]
        self.overwrites = name != self.name or name == "__setitem__"
        self._may_overwrite = self.overwrites or self.name in _ACTIVATIONS | _DROPOUTS

    @property
    def sources(self) -> list[Tensor]:
        return [self._leaves[i] for i in self._places]

    def run(self, values: Sequence[Tensor]) -> Any:
        """What the function gives for other values of its sources; none is overwritten."""
        leaves = list(self._leaves)
        for i, value in zip(self._places, values, strict=True):
            leaves[i] = value
        if self._may_overwrite:
            first = next(i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor))
            leaves[first] = leaves[first].clone()
        args, kwargs = tree_unflatten(leaves, self._spec)
        return self.func(*args, **kwargs)

    def result(self) -> Any:
        with torch.no_grad():
            return self.run([source.detach() for source in self.sources])

    def given(self, *names: str) -> dict[str, Any]:
        """The arguments by name, those given by position named in this order."""
        return {**dict(zip(names, self.args, strict=False)), **self.kwargs}

    def __str__(self) -> str:
        return str(resolve_name(self.func) or self.name)


class Refused(Exception):
    """Why a call has no rule."""


class Passage(Protocol):
    """What a rule may ask about the pass that it belongs to."""

    sharing: Sharing
    several: bool  # whether relevance goes back more than once
    dual: bool  # whether the last products stand for their duals

    def depends(self, value: Any) -> bool:
        """Whether a value depends on where relevance ends."""
        ...

    def is_activation(self, value: Any) -> bool:
        """Whether a value depends on the image."""
        ...

    def share(self, usual: Share, *sources: Tensor) -> Share:
        """The usual share, or that for what reads the image."""
        ...

    def __enter__(self) -> Any:
        """Inside the block torch functions are shared by the rules, as the model's own are."""
        ...

    def __exit__(self, *raised: Any) -> Any: ...


def over(relevance: Tensor, whole: Tensor) -> Tensor:
    """The quotient, 0 where the whole is 0."""
    return torch.where(whole != 0, relevance / whole, 0)


def stabilised(whole: Tensor, epsilon: float) -> Tensor:
    return torch.where(whole < 0, whole - epsilon, whole + epsilon)


# The rules, each of a passage and a call.


def _moved(passage: Passage, call: Call) -> Step:
    """Relevance comes from where the value went: the function's own gradient."""
    leaves = [source.detach().requires_grad_() for source in call.sources]
    result = call.run(leaves)
    outputs = tensors(result)
    moving = [i for i, output in enumerate(outputs) if output.requires_grad]

    def back(*relevance: Tensor) -> Sequence[Tensor | None]:
        ways = [outputs[i] for i in moving], leaves, [relevance[i] for i in moving]
        return torch.autograd.grad(*ways, retain_graph=True, allow_unused=True)

    return Step(result, call.sources if moving else [], back)


def _kept(passage: Passage, call: Call) -> Step:
    step = _passed(call)
    if not torch.equal(step.result, step.sources[0]):
        raise Refused(f"has no rule for {call} that drops at random, in eval mode too")
    return step


def _activated(passage: Passage, call: Call) -> Step:
    if passage.sharing.probability and call.run([-torch.ones_like(source) for source in call.sources]).amin() < 0:
        raise Refused(f"to probabilities is defined for activations that give no negative values, unlike {call}")
    return _passed(call)


def _passed(call: Call) -> Step:
    if len(call.sources) != 1:
        raise Refused(f"has no rule for {call} with bounds or slopes that depend on the image")
    return Step(call.result(), call.sources, lambda relevance: [relevance])


def multiplied(passage: Passage, call: Call) -> Step:
    """All to the one factor that depends on the image, and nothing where the other is 0."""
    factors = [each for each in (*call.args, *call.kwargs.values()) if each is not None]
    if sum(map(passage.is_activation, factors)) > 1:
        raise Refused(f"has no rule for {call} of two values that depend on the image, as a gate and what it gates")
    if "rounding_mode" in call.kwargs or (factors[0] is not call.sources[0] and "div" in call.name):
        raise Refused(f"has no rule for {call} that isn't linear")
    (source,) = call.sources
    other = next((each for each in factors if each is not source), 1)
    return Step(call.result(), [source], lambda relevance: [(relevance * (other != 0)).sum_to_size(source.shape)])


def _added(passage: Passage, call: Call) -> Step:
    given = call.given("input", "other")
    first, second = given["input"], given["other"]
    signs = list(_ADDITIONS[call.name])
    signs[call.name not in ("rsub", "__rsub__")] *= given.get("alpha", 1)
    terms = [(each, sign) for each, sign in ((first, signs[0]), (second, signs[1])) if passage.is_activation(each)]
    parts = [sign * wide(each.detach()) for each, sign in terms]
    return summed_up(passage, call.result(), [each for each, _ in terms], parts)


def summed_up(passage: Passage, result: Tensor, terms: list[Tensor], parts: list[Tensor]) -> Step:
    """Relevance of a sum of parts (and of a bias, where the result is more than they) to the term of each.

    By contribution, or by positive contribution, or equally. A single part's passes but by contribution.
    """
    depending = [passage.depends(term) for term in terms]
    sources = [*compress(terms, depending)]
    share = passage.share(passage.sharing.sums, *sources)

    def back(relevance: Tensor) -> Sequence[Tensor | None]:
        relevance = wide(relevance)
        if share is Share.FLAT or (share is Share.PLUS and len(parts) == 1):
            shares = [relevance / len(parts) for _ in parts]
        elif share is Share.PLUS:
            ratio = over(relevance, torch.stack([part.clamp(min=0).expand_as(relevance) for part in parts]).sum(0))
            shares = [ratio * part.clamp(min=0) for part in parts]
        else:
            ratio = over(relevance, stabilised(wide(result), passage.sharing.epsilon))
            shares = [ratio * part for part in parts]
        pairs = zip(compress(shares, depending), sources, strict=True)
        return [each.sum_to_size(source.shape) for each, source in pairs]

    return Step(result, sources, back)


@dataclass(slots=True, eq=False)
class Product:
    """A sum f(x, w) + b, linear in x and in w; the bias as it is added."""

    of: Callable[[Tensor, Tensor], Tensor]
    source: Tensor
    weight: Tensor
    bias: Tensor | None
    share: Share
    channels: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None  # (C,) as w takes it, and as the bias does
    is_last: bool = False  # before the logits
    ready: dict[bool, list["Part"]] = field(default_factory=dict)

    def folded(self, scale: Tensor, shift: Tensor) -> "Product":
        """The same sum, each channel scaled and shifted."""
        assert self.channels is not None
        (of_weight, of_bias), bias = self.channels(scale), self.channels(shift)[1]
        bias = bias if self.bias is None else bias + self.bias * of_bias
        return Product(self.of, self.source, self.weight * of_weight, bias, self.share, self.channels)

    def step(self, passage: Passage, result: Tensor) -> Step:
        return Step(result, [self.source], lambda relevance: [self.back(passage, relevance)], self)

    def back(self, passage: Passage, relevance: Tensor) -> Tensor:
        dual = passage.dual and self.is_last
        parts = self.ready.get(dual) or self._parts(-self.weight if dual else self.weight, passage.sharing)
        if passage.several:
            self.ready[dual] = parts
        return torch.stack([part.back(wide(relevance)) for part in parts]).sum(0)

    def _parts(self, w: Tensor, sharing: Sharing) -> list["Part"]:
        x, b, gamma = wide(self.source.detach()), self.bias, sharing.gamma
        match self.share:
            case Share.EPSILON:
                part = self._part([(x, w)], b)
                part.whole = stabilised(part.whole, sharing.epsilon)
                return [part]
            case Share.FLAT:
                return [self._part([(torch.ones_like(x), torch.ones_like(w))])]
        up, down = x.clamp(min=0), x.clamp(max=0)
        signed = bool(down.any())  # most layers read what a ReLU gave, and weights may be large

        def split(of_up: Callable[[], Tensor], of_down: Callable[[], Tensor], bias: Tensor | None = None) -> Part:
            return self._part([(up, of_up()), *([(down, of_down())] if signed else [])], bias)

        if self.share is Share.PLUS:
            return [split(lambda: w.clamp(min=0), lambda: w.clamp(max=0))]
        plus, minus = (lambda: w + gamma * w.clamp(min=0)), (lambda: w + gamma * w.clamp(max=0))
        above = split(plus, minus, b if b is None else b + gamma * b.clamp(min=0))
        below = split(minus, plus, b if b is None else b + gamma * b.clamp(max=0))
        with torch.no_grad():
            z = self.of(x, w) if b is None else self.of(x, w) + b
        above.whole, below.whole = above.whole.where(z > 0, 0), below.whole.where(z < 0, 0)
        return [above, below]

    def _part(self, pairs: Sequence[tuple[Tensor, Tensor]], bias: Tensor | None = None) -> "Part":
        with torch.enable_grad():
            xs = [x.detach().requires_grad_() for x, _ in pairs]
            outputs = [self.of(x, w) for x, (_, w) in zip(xs, pairs, strict=True)]
        whole = torch.stack([output.detach() for output in outputs]).sum(0)
        return Part(xs, outputs, whole if bias is None else whole + bias)


@dataclass(slots=True)
class Part:
    """f(x_p, w_p) for some x_p, with their graphs, and the whole that they are shares of."""

    xs: list[Tensor]
    outputs: list[Tensor]
    whole: Tensor

    def back(self, relevance: Tensor) -> Tensor:
        ratio = over(relevance, self.whole)
        shares = torch.autograd.grad(self.outputs, self.xs, [ratio] * len(self.outputs), retain_graph=True)
        return torch.stack([x.detach() * share for x, share in zip(self.xs, shares, strict=True)]).sum(0)


def _convolved(passage: Passage, call: Call) -> Step:
    names = ("input", "weight", "bias")
    given, rest = call.given(*names), call.args[3:]
    named = {name: value for name, value in call.kwargs.items() if name not in names}
    source, weight, bias = given["input"], given["weight"], given.get("bias")
    if not passage.depends(source) or passage.is_activation(weight) or passage.is_activation(bias):
        raise Refused(f"has no rule for {call} with weights that depend on the image")
    weight, flat = wide(weight.detach()), [1] * (weight.ndim - 2)
    linear, transposed = call.name == "linear", "transpose" in call.name
    groups = call.given(*names, "stride", "padding", "output_padding", "groups").get("groups", 1) if transposed else 1

    def channels(values: Tensor) -> tuple[Tensor, Tensor]:
        if transposed:
            of_each = values.view(groups, 1, -1).expand(-1, len(weight) // groups, -1).flatten(0, 1)
            return of_each.view(*of_each.shape, *flat), values.view(-1, *flat)
        return values.view(-1, 1, *flat), values.view(-1, *flat)

    def of(x: Tensor, w: Tensor) -> Tensor:
        result: Tensor = call.func(x, w, None, *rest, **named)
        return result

    share = passage.share(passage.sharing.linear if linear else passage.sharing.convolution, source)
    bias = None if bias is None else channels(wide(bias.detach()))[1]
    result = call.result()
    by_channel = channels if result.ndim == (2 if linear else weight.ndim) else None
    return Product(of, source, weight, bias, share, by_channel).step(passage, result)


def matrix_product(passage: Passage, call: Call) -> Step:
    """A product with a matrix that doesn't depend on the image: a linear layer."""
    factors, source = tree_leaves((call.args, call.kwargs)), call.sources[0]
    if all(map(passage.is_activation, factors)):
        raise Refused(f"has no rule for {call} of two values that depend on the image, such as attention")
    first = factors[0] is source
    weight = wide(factors[first].detach())
    of = (lambda x, w: torch.matmul(x, w)) if first else (lambda x, w: torch.matmul(w, x))
    share = passage.share(passage.sharing.linear, source)
    return Product(of, source, weight, None, share).step(passage, call.result())


def _averaged(passage: Passage, call: Call) -> Step:
    if len(call.sources) != 1 or "bicubic" in (*call.args, *call.kwargs.values()):
        raise Refused(f"has no rule for {call} by weights that may be negative")
    (source,) = call.sources
    weight = torch.ones((), device=source.device, dtype=wide(source.detach()).dtype)
    share = passage.share(passage.sharing.sums, source)
    step = Product(lambda x, w: call.run([x * w]), source, weight, None, share).step(passage, call.result())
    step.product = None  # not one that has weights
    return step


def _normalised(passage: Passage, call: Call) -> Step:
    """With fixed statistics: folded into the layer whose output this is; elsewhere a scaled value and a bias."""
    given = call.given("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    source, mean, variance = given["input"], given["running_mean"], given["running_var"]
    fixed = mean is not None and not given.get("training") and passage.depends(source) and len(call.sources) == 1
    if call.func is not functional.batch_norm or not fixed:
        raise Refused(f"has no rule for {call} by the statistics of the images at hand")
    scale = (wide(variance) + given.get("eps", 1e-5)).rsqrt()
    scale = scale if given.get("weight") is None else scale * wide(given["weight"].detach())
    shift = -wide(mean) * scale
    shift = shift if given.get("bias") is None else shift + wide(given["bias"].detach())
    result = call.result()
    before = step_of(source.grad_fn)
    if before is not None and before.product is not None and before.product.channels is not None:
        return before.product.folded(scale, shift).step(passage, result)
    scale = scale.view(-1, *[1] * (result.ndim - 2))
    return summed_up(passage, result, [source], [wide(source.detach()) * scale])


RULES = (
    (_CONVOLUTIONS | {"linear"}, _convolved),
    (_PRODUCTS - {"linear"}, matrix_product),
    (_MEANS, _averaged),
    (_ADDITIONS, _added),
    (MULTIPLES, multiplied),
    (_ACTIVATIONS, _activated),
    (_DROPOUTS, _kept),
    (_MOVES, _moved),
    ({"batch_norm"}, _normalised),
)
