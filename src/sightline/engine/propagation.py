"""Relevance propagation: what a unit is worth is shared among its inputs, layer by layer, down to a layer or the image.

One forward pass runs under a torch function mode, which sees every torch function that the model's
code calls, modules' and functional alike, in this thread only, and changes nothing in the model.
What a function gives stays the same; in its backward pass relevance R goes back in the gradient's
place, by the tables of names below. For a weighted sum z = f(x, w) + b it is, in one formula for
all of them, R_x = sum_p x_p f'_x(x_p, w_p)^T (R / z'), with the parts (x_p, w_p) and the whole z'

- EPSILON: (x, w), z' = z + epsilon sign(z), where sign(0) = 1;
- PLUS: (x+, w+) and (x-, w-), z' = f(x+, w+) + f(x-, w-), without the bias;
- GAMMA: where z > 0 (x+, w + gamma w+) and (x-, w + gamma w-), z' = their sum + b + gamma b+; where
  z < 0 the same with + and - changed in w and b;
- FLAT: each x by its number of ways to z, z' = all of them.

Where z' = 0 nothing goes back. Half precision is shared in float32. A torch function in none of the
tables, and whatever the mode can't see, is refused by name where it lies on the way to the score.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.nn import functional
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten
from torch.utils.weak import WeakIdKeyDictionary

from sightline.engine.gradients import HALF_SCALE, _cut, _not_reached, _Tap, _wide
from sightline.engine.loan import borrowed
from sightline.engine.passes import plain, run
from sightline.errors import CutOff, LayerNotReached, MethodError
from sightline.layers import Layer, Layout, layout_of
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
_MULTIPLES = {"mul", "multiply", "__rmul__", "div", "divide", "true_divide", "__truediv__", "neg", "negative"}

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

_ADVICE = "use grad-cam or input-x-gradient, which need no rules"


def relevances(
    model: nn.Module,
    image: Tensor,
    layer: Layer | None,
    seeds_of: Callable[[Any], tuple[Tensor, Tensor]],
    sharing: Sharing,
    *,
    contrast: bool,
) -> tuple[Any, Tensor, Layout | None]:
    """One pass of an image (N, C, ...): the output, and relevance (N, K, C, *grid) at the layer, or in the image.

    `seeds_of(output)` gives logits (N, classes) and the scores' gradients (N, K, classes) in them. With
    `contrast`, relevance is less that of the dual of the score's unit: where the score weighs
    classes against each other, that of the others; else that of the unit whose weights are the
    negated ones in the last weighted layers. The third is how the layer's grid was found, None for the image.

    In-place operations aren't carried out in place, so that an output which depends on their side
    effects differs from the model's own; to compare it is left to the caller. Raises MethodError where
    something between has no rule, LayerError (not reached, cut off, no space) and ModelError.
    """
    with borrowed(model), torch.inference_mode(False), torch.enable_grad():
        image = plain(image)
        tap = _Tap(layer or Layer("image", model), alone=True, is_image=layer is None)
        if layer is None:
            tap.value = image.requires_grad_()
        passage = _Passage(tap, sharing, image)
        with passage:
            output = run(model, image.clone(), [(layer.module, tap.hook)] if layer else [])
        if tap.value is None:
            raise LayerNotReached(_not_reached(tap))
        logits, seeds = seeds_of(output)
        found = passage.relevance(logits, seeds.detach(), contrast=contrast)
        if layer is None:
            return output, found, None
        layout = layout_of(layer, tap.value, tuple(image.shape[2:]))
        return output, layout.to_grid(found), layout


Back = Callable[..., Sequence[Tensor | None]]


@dataclass(slots=True, eq=False)
class _Step:
    """What a torch function gave (tensors, in any container), and how relevance goes back to its sources."""

    result: Any
    sources: list[Tensor]
    back: Back
    product: "_Product | None" = None  # where it is a weighted sum
    refusal: str = ""
    of_image: bool = False  # whether it is the image still, weighted by nothing so far


class _Shared(torch.autograd.Function):
    """A step in the graph."""

    @staticmethod
    def forward(ctx: Any, step: _Step, *sources: Tensor) -> tuple[Tensor, ...]:
        ctx.step = step
        return tuple(leaf.detach() for leaf in _tensors(step.result))

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> Any:
        return None, *ctx.step.back(*relevance)


def _tensors(result: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]


def _step_of(node: Node | None) -> _Step | None:
    step = getattr(node, "step", None)
    return step if isinstance(step, _Step) else None


class _Call:
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


class _Refused(Exception):
    """Why a call has no rule."""


class _Passage(TorchFunctionMode):
    """One forward pass on whose way back relevance is shared."""

    def __init__(self, tap: _Tap, sharing: Sharing, image: Tensor) -> None:
        super().__init__()
        self.tap, self.sharing = tap, sharing
        self._others = WeakIdKeyDictionary({image: None})  # what depends on the image and not on the tap
        self.several = False  # whether relevance goes back more than once
        self.dual = False  # whether the last products stand for their duals

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = _Call(func, args, kwargs or {}, self.depends)
        if not call.has_tensors:
            return func(*args, **call.kwargs)
        if not call.sources or not torch.is_grad_enabled():
            with torch.no_grad():  # neither what precedes the layer nor what weights are made of needs a graph
                result = func(*args, **call.kwargs)
            if any(map(self.is_activation, tree_leaves((args, kwargs)))):
                for each in _tensors((result, args[:1] if call.overwrites else ())):
                    self._others[each] = None
            return result
        rule = next((rule for names, rule in _RULES if call.name in names), None)
        if rule is None or call.name == "__get__":
            if call.overwrites:
                raise MethodError(f"relevance propagation has no rule for {call}, which overwrites; {_ADVICE}")
            result = func(*args, **call.kwargs)
            if not any(leaf.requires_grad for leaf in _tensors(result)):
                return result  # a size, an index, a comparison, a constant
        try:
            if rule is None:
                raise _Refused(f"has no rule for {call}")
            step = rule(self, call)
        except _Refused as reason:
            step = _Step(call.result(), call.sources, _nothing, refusal=str(reason))
        if not step.sources:
            return step.result
        step.of_image = step.product is None and self.is_of_image(*step.sources)
        shared = iter(_Shared.apply(step, *step.sources))
        result = tree_map(lambda leaf: next(shared) if isinstance(leaf, Tensor) else leaf, step.result)
        step.result = None
        return result

    def depends(self, value: Any) -> bool:
        """Whether a value depends on where relevance ends."""
        if not isinstance(value, Tensor) or not value.requires_grad:
            return False
        return value is self.tap.value or any(_step_of(node) for node in _nodes(value, until=_step_of))

    def is_activation(self, value: Any) -> bool:
        """Whether a value depends on the image."""
        return isinstance(value, Tensor) and (value in self._others or self.depends(value))

    def is_of_image(self, *sources: Tensor) -> bool:
        """Whether the values are the image still, weighted by nothing so far."""
        steps = [_step_of(source.grad_fn) for source in sources]
        start = self.tap.value if self.tap.is_image else None
        return all(
            source is start if step is None else step.of_image for source, step in zip(sources, steps, strict=True)
        )

    def share(self, usual: Share, *sources: Tensor) -> Share:
        return self.sharing.first if self.is_of_image(*sources) else usual

    def relevance(self, logits: Tensor, seeds: Tensor, *, contrast: bool) -> Tensor:
        """Relevance (N, K, ...) where the tap is, for the scores' gradients (N, K, classes) in the logits."""
        if not logits.requires_grad:
            raise CutOff(_cut(self.tap))
        last = self._last_products(logits)
        lowest, highest = seeds.flatten(2).amin(2), seeds.flatten(2).amax(2)
        if self.sharing.probability:
            start = _probabilities(seeds)
            by_dual = (lowest >= 0) | (highest <= 0) if contrast else highest <= 0
        else:
            start, by_dual = seeds * logits.detach()[:, None], torch.zeros_like(lowest, dtype=torch.bool)
        by_dual = by_dual.view(*by_dual.shape, *[1] * (start.ndim - 2))
        of_dual = start.where(by_dual, 0)
        if of_dual.any() and not last:
            raise MethodError(
                f"what speaks against a class is found by negated weights, and there are none between layer "
                f"{self.tap.layer.name!r} and the score; name a layer before"
            )
        self.several = seeds.shape[1] > 1
        found = self._flow(logits, start if contrast else start.where(~by_dual, 0))
        if of_dual.any():
            for product in last:
                product.is_last = True
            self.dual = True
            found = found - self._flow(logits, of_dual)
        return found

    def _flow(self, logits: Tensor, start: Tensor) -> Tensor:
        """Relevance (N, K, ...) at the tap from relevance (N, K, classes) at the logits."""
        value, columns = self.tap.value, []
        assert value is not None
        for column in start.unbind(1):
            for scale in (HALF_SCALE, 1.0) if logits.dtype is torch.float16 else (1.0,):  # as in gradients.py
                seed = (column * scale).to(logits.dtype)
                (raw,) = torch.autograd.grad(logits, value, seed, retain_graph=True, allow_unused=True)
                if raw is None:
                    raise CutOff(_cut(self.tap))
                if raw.isfinite().all():
                    break
            columns.append(_wide(raw) / scale)
        return torch.stack(columns, 1)

    def _last_products(self, logits: Tensor) -> list["_Product"]:
        """The last weighted sums before the logits. Raises MethodError where something on the way has no rule."""
        for node in _nodes(logits):
            step = _step_of(node)
            if step is None and not hasattr(node, "variable"):
                name = node.name().removesuffix("0").removesuffix("Backward")
                raise MethodError(
                    f"relevance propagation can't see into {name}, which isn't called as a torch function "
                    f"(it is a custom autograd function, or in a scripted or checkpointed part); {_ADVICE}"
                )
            if step is not None and step.refusal:
                raise MethodError(f"relevance propagation {step.refusal}; {_ADVICE}")
        steps = [_step_of(node) for node in _nodes(logits, until=_product_of)]
        return [step.product for step in steps if step is not None and step.product is not None]


def _nodes(value: Tensor, until: Callable[[Node], Any] = lambda node: False) -> Iterator[Node]:
    """The nodes of the graph that a value comes from; not what lies before those that `until` is true of."""
    waiting, seen = [value.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        if not until(node):
            waiting += [before for before, _ in node.next_functions]


def _product_of(node: Node) -> Any:
    step = _step_of(node)
    return step and step.product


def _probabilities(seeds: Tensor) -> Tensor:
    """The positive ones as shares of 1, and the negative ones of -1."""
    dims = tuple(range(2, seeds.ndim))
    above, below = seeds.clamp(min=0), seeds.clamp(max=0)
    return _over(above, above.sum(dims, keepdim=True)) - _over(below, below.sum(dims, keepdim=True))


def _over(relevance: Tensor, whole: Tensor) -> Tensor:
    """The quotient, 0 where the whole is 0."""
    return torch.where(whole != 0, relevance / whole, 0)


def _stabilised(whole: Tensor, epsilon: float) -> Tensor:
    return torch.where(whole < 0, whole - epsilon, whole + epsilon)


def _nothing(*relevance: Tensor) -> Sequence[Tensor | None]:
    raise AssertionError("a step without a rule was passed")


# The rules, each of a passage and a call.


def _moved(passage: _Passage, call: _Call) -> _Step:
    """Relevance comes from where the value went: the function's own gradient."""
    leaves = [source.detach().requires_grad_() for source in call.sources]
    result = call.run(leaves)
    outputs = _tensors(result)
    moving = [i for i, output in enumerate(outputs) if output.requires_grad]

    def back(*relevance: Tensor) -> Sequence[Tensor | None]:
        ways = [outputs[i] for i in moving], leaves, [relevance[i] for i in moving]
        return torch.autograd.grad(*ways, retain_graph=True, allow_unused=True)

    return _Step(result, call.sources if moving else [], back)


def _kept(passage: _Passage, call: _Call) -> _Step:
    step = _passed(call)
    if not torch.equal(step.result, step.sources[0]):
        raise _Refused(f"has no rule for {call} that drops at random, in eval mode too")
    return step


def _activated(passage: _Passage, call: _Call) -> _Step:
    if passage.sharing.probability and call.run([-torch.ones_like(source) for source in call.sources]).amin() < 0:
        raise _Refused(f"to probabilities is defined for activations that give no negative values, unlike {call}")
    return _passed(call)


def _passed(call: _Call) -> _Step:
    if len(call.sources) != 1:
        raise _Refused(f"has no rule for {call} with bounds or slopes that depend on the image")
    return _Step(call.result(), call.sources, lambda relevance: [relevance])


def _multiplied(passage: _Passage, call: _Call) -> _Step:
    """All to the one factor that depends on the image, and nothing where the other is 0."""
    factors = [each for each in (*call.args, *call.kwargs.values()) if each is not None]
    if sum(map(passage.is_activation, factors)) > 1:
        raise _Refused(f"has no rule for {call} of two values that depend on the image, as a gate and what it gates")
    if "rounding_mode" in call.kwargs or (factors[0] is not call.sources[0] and "div" in call.name):
        raise _Refused(f"has no rule for {call} that isn't linear")
    (source,) = call.sources
    other = next((each for each in factors if each is not source), 1)
    return _Step(call.result(), [source], lambda relevance: [(relevance * (other != 0)).sum_to_size(source.shape)])


def _added(passage: _Passage, call: _Call) -> _Step:
    given = call.given("input", "other")
    first, second = given["input"], given["other"]
    signs = list(_ADDITIONS[call.name])
    signs[call.name not in ("rsub", "__rsub__")] *= given.get("alpha", 1)
    terms = [(each, sign) for each, sign in ((first, signs[0]), (second, signs[1])) if passage.is_activation(each)]
    parts = [sign * _wide(each.detach()) for each, sign in terms]
    return _summed_up(passage, call.result(), [each for each, _ in terms], parts)


def _summed_up(passage: _Passage, result: Tensor, terms: list[Tensor], parts: list[Tensor]) -> _Step:
    """Relevance of a sum of parts (and of a bias, where the result is more than they) to the term of each.

    By contribution, or by positive contribution, or equally. A single part's passes but by contribution.
    """
    depending = [passage.depends(term) for term in terms]
    sources = [*compress(terms, depending)]
    share = passage.share(passage.sharing.sums, *sources)

    def back(relevance: Tensor) -> Sequence[Tensor | None]:
        relevance = _wide(relevance)
        if share is Share.FLAT or (share is Share.PLUS and len(parts) == 1):
            shares = [relevance / len(parts) for _ in parts]
        elif share is Share.PLUS:
            over = _over(relevance, torch.stack([part.clamp(min=0).expand_as(relevance) for part in parts]).sum(0))
            shares = [over * part.clamp(min=0) for part in parts]
        else:
            over = _over(relevance, _stabilised(_wide(result), passage.sharing.epsilon))
            shares = [over * part for part in parts]
        pairs = zip(compress(shares, depending), sources, strict=True)
        return [each.sum_to_size(source.shape) for each, source in pairs]

    return _Step(result, sources, back)


@dataclass(slots=True, eq=False)
class _Product:
    """A sum f(x, w) + b, linear in x and in w; the bias as it is added."""

    of: Callable[[Tensor, Tensor], Tensor]
    source: Tensor
    weight: Tensor
    bias: Tensor | None
    share: Share
    channels: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None  # (C,) as w takes it, and as the bias does
    is_last: bool = False  # before the logits
    ready: dict[bool, list["_Part"]] = field(default_factory=dict)

    def folded(self, scale: Tensor, shift: Tensor) -> "_Product":
        """The same sum, each channel scaled and shifted."""
        assert self.channels is not None
        (of_weight, of_bias), bias = self.channels(scale), self.channels(shift)[1]
        bias = bias if self.bias is None else bias + self.bias * of_bias
        return _Product(self.of, self.source, self.weight * of_weight, bias, self.share, self.channels)

    def step(self, passage: _Passage, result: Tensor) -> _Step:
        return _Step(result, [self.source], lambda relevance: [self.back(passage, relevance)], self)

    def back(self, passage: _Passage, relevance: Tensor) -> Tensor:
        dual = passage.dual and self.is_last
        parts = self.ready.get(dual) or self._parts(-self.weight if dual else self.weight, passage.sharing)
        if passage.several:
            self.ready[dual] = parts
        return torch.stack([part.back(_wide(relevance)) for part in parts]).sum(0)

    def _parts(self, w: Tensor, sharing: Sharing) -> list["_Part"]:
        x, b = _wide(self.source.detach()), self.bias
        up, down = x.clamp(min=0), x.clamp(max=0)
        match self.share:
            case Share.EPSILON:
                part = self._part([(x, w)], b)
                part.whole = _stabilised(part.whole, sharing.epsilon)
                return [part]
            case Share.PLUS:
                return [self._part([(up, w.clamp(min=0)), (down, w.clamp(max=0))])]
            case Share.FLAT:
                return [self._part([(torch.ones_like(x), torch.ones_like(w))])]
            case Share.GAMMA:
                plus, minus = (w + sharing.gamma * each for each in (w.clamp(min=0), w.clamp(max=0)))
                above = self._part([(up, plus), (down, minus)], b if b is None else b + sharing.gamma * b.clamp(min=0))
                below = self._part([(up, minus), (down, plus)], b if b is None else b + sharing.gamma * b.clamp(max=0))
                with torch.no_grad():
                    z = self.of(x, w) if b is None else self.of(x, w) + b
                above.whole, below.whole = above.whole.where(z > 0, 0), below.whole.where(z < 0, 0)
                return [above, below]

    def _part(self, pairs: Sequence[tuple[Tensor, Tensor]], bias: Tensor | None = None) -> "_Part":
        pairs = [pair for i, pair in enumerate(pairs) if not i or pair[0].any()]  # most inputs have nothing negative
        with torch.enable_grad():
            xs = [x.detach().requires_grad_() for x, _ in pairs]
            outputs = [self.of(x, w) for x, (_, w) in zip(xs, pairs, strict=True)]
        whole = torch.stack([output.detach() for output in outputs]).sum(0)
        return _Part(xs, outputs, whole if bias is None else whole + bias)


@dataclass(slots=True)
class _Part:
    """f(x_p, w_p) for some x_p, with their graphs, and the whole that they are shares of."""

    xs: list[Tensor]
    outputs: list[Tensor]
    whole: Tensor

    def back(self, relevance: Tensor) -> Tensor:
        over = _over(relevance, self.whole)
        shares = torch.autograd.grad(self.outputs, self.xs, [over] * len(self.outputs), retain_graph=True)
        return torch.stack([x.detach() * share for x, share in zip(self.xs, shares, strict=True)]).sum(0)


def _convolved(passage: _Passage, call: _Call) -> _Step:
    names = ("input", "weight", "bias")
    given, rest = call.given(*names), call.args[3:]
    named = {name: value for name, value in call.kwargs.items() if name not in names}
    source, weight, bias = given["input"], given["weight"], given.get("bias")
    if not passage.depends(source) or passage.is_activation(weight) or passage.is_activation(bias):
        raise _Refused(f"has no rule for {call} with weights that depend on the image")
    weight, flat = _wide(weight.detach()), [1] * (weight.ndim - 2)
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
    bias = None if bias is None else channels(_wide(bias.detach()))[1]
    result = call.result()
    by_channel = channels if result.ndim == (2 if linear else weight.ndim) else None
    return _Product(of, source, weight, bias, share, by_channel).step(passage, result)


def _matrix_product(passage: _Passage, call: _Call) -> _Step:
    """A product with a matrix that doesn't depend on the image: a linear layer."""
    factors, source = tree_leaves((call.args, call.kwargs)), call.sources[0]
    if all(map(passage.is_activation, factors)):
        raise _Refused(f"has no rule for {call} of two values that depend on the image, such as attention")
    first = factors[0] is source
    weight = _wide(factors[first].detach())
    of = (lambda x, w: torch.matmul(x, w)) if first else (lambda x, w: torch.matmul(w, x))
    share = passage.share(passage.sharing.linear, source)
    return _Product(of, source, weight, None, share).step(passage, call.result())


def _averaged(passage: _Passage, call: _Call) -> _Step:
    if len(call.sources) != 1 or "bicubic" in (*call.args, *call.kwargs.values()):
        raise _Refused(f"has no rule for {call} by weights that may be negative")
    (source,) = call.sources
    weight = torch.ones((), device=source.device, dtype=_wide(source.detach()).dtype)
    share = passage.share(passage.sharing.sums, source)
    step = _Product(lambda x, w: call.run([x * w]), source, weight, None, share).step(passage, call.result())
    step.product = None  # not one that has weights
    return step


def _normalised(passage: _Passage, call: _Call) -> _Step:
    """With fixed statistics: folded into the layer whose output this is; elsewhere a scaled value and a bias."""
    given = call.given("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    source, mean, variance = given["input"], given["running_mean"], given["running_var"]
    fixed = mean is not None and not given.get("training") and passage.depends(source) and len(call.sources) == 1
    if call.func is not functional.batch_norm or not fixed:
        raise _Refused(f"has no rule for {call} by the statistics of the images at hand")
    scale = (_wide(variance) + given.get("eps", 1e-5)).rsqrt()
    scale = scale if given.get("weight") is None else scale * _wide(given["weight"].detach())
    shift = -_wide(mean) * scale
    shift = shift if given.get("bias") is None else shift + _wide(given["bias"].detach())
    result = call.result()
    before = _step_of(source.grad_fn)
    if before is not None and before.product is not None and before.product.channels is not None:
        return before.product.folded(scale, shift).step(passage, result)
    scale = scale.view(-1, *[1] * (result.ndim - 2))
    return _summed_up(passage, result, [source], [_wide(source.detach()) * scale])


_RULES = (
    (_CONVOLUTIONS | {"linear"}, _convolved),
    (_PRODUCTS - {"linear"}, _matrix_product),
    (_MEANS, _averaged),
    (_ADDITIONS, _added),
    (_MULTIPLES, _multiplied),
    (_ACTIVATIONS, _activated),
    (_DROPOUTS, _kept),
    (_MOVES, _moved),
    ({"batch_norm"}, _normalised),
)
