"""Relevance propagation: what a unit is worth is shared among its inputs, layer by layer, down to a layer or the image.

One forward pass runs under a torch function mode, which sees every torch function that the model's
code calls, modules' and functional alike, in this thread only, and changes nothing in the model.
What a function gives stays the same; in its backward pass relevance goes back in the gradient's
place, by the rules of rules.py. A function without a rule, and whatever the mode can't see, is
refused by name where it lies on the way to the score.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary

from sightline.engine.attention_rules import ATTENTION_RULES
from sightline.engine.gradients import HALF_SCALE, Tap, cut_off, not_reached
from sightline.engine.graph import nodes
from sightline.engine.loan import borrowed
from sightline.engine.mixed import layout_in
from sightline.engine.passes import plain, run
from sightline.engine.rules import RULES, Call, Product, Refused, Step, over, step_of, tensors
from sightline.errors import CutOff, LayerNotReached, MethodError
from sightline.layers import Layer, Layout
from sightline.outputs import wide
from sightline.types import Share, Sharing

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
        tap = Tap(layer or Layer("image", model), alone=True, is_image=layer is None)
        if layer is None:
            tap.value = image.requires_grad_()
        passage = _Passage(tap, sharing, image)
        with passage:
            output = run(model, image.clone(), [(layer.module, tap.hook)] if layer else [])
        if tap.value is None:
            raise LayerNotReached(not_reached(tap))
        logits, seeds = seeds_of(output)
        found = passage.relevance(logits, seeds.detach(), contrast=contrast)
        if layer is None:
            return output, found, None
        layout = layout_in(model, layer, tap.value, tuple(image.shape[2:]))
        return output, layout.to_grid(found), layout


class _Shared(torch.autograd.Function):
    """A step in the graph."""

    @staticmethod
    def forward(ctx: Any, step: Step, *sources: Tensor) -> tuple[Tensor, ...]:
        ctx.step = step
        return tuple(leaf.detach() for leaf in tensors(step.result))

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> Any:
        return None, *ctx.step.back(*relevance)


class _Passage(TorchFunctionMode):
    """One forward pass on whose way back relevance is shared."""

    def __init__(self, tap: Tap, sharing: Sharing, image: Tensor) -> None:
        super().__init__()
        self.tap, self.sharing = tap, sharing
        self._others = WeakIdKeyDictionary({image: None})  # what depends on the image and not on the tap
        self.several = False  # whether relevance goes back more than once
        self.dual = False  # whether the last products stand for their duals

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = Call(func, args, kwargs or {}, self.depends)
        if not call.has_tensors:
            return func(*args, **call.kwargs)
        if not call.sources or not torch.is_grad_enabled():
            with torch.no_grad():  # neither what precedes the layer nor what weights are made of needs a graph
                result = func(*args, **call.kwargs)
            if any(map(self.is_activation, tree_leaves((args, kwargs)))):
                self._note((result, args[:1] if call.overwrites else ()))
            return result
        rules = (*ATTENTION_RULES, *RULES) if self.sharing.attention else RULES
        rule = next((rule for names, rule in rules if call.name in names), None)
        if rule is None or call.name == "__get__":
            if call.overwrites:
                raise MethodError(f"relevance propagation has no rule for {call}, which overwrites; {_ADVICE}")
            result = func(*args, **call.kwargs)
            if not any(leaf.requires_grad for leaf in tensors(result)):
                if call.name in ("__get__", "detach"):
                    self._note(result)
                return result  # a size, an index, a comparison, a constant
        try:
            if rule is None:
                raise Refused(f"has no rule for {call}")
            step = rule(self, call)
        except Refused as reason:
            step = Step(call.result(), call.sources, _nothing, refusal=str(reason))
        if not isinstance(step, Step):
            return step
        if not step.sources:
            return step.result
        step.of_image = step.product is None and self.is_of_image(*step.sources)
        shared = iter(_Shared.apply(step, *step.sources))
        result = tree_map(lambda leaf: next(shared) if isinstance(leaf, Tensor) else leaf, step.result)
        step.result = None
        return result

    def _note(self, results: Any) -> None:
        for each in tensors(results):
            self._others[each] = None

    def depends(self, value: Any) -> bool:
        """Whether a value depends on where relevance ends."""
        if not isinstance(value, Tensor) or not value.requires_grad:
            return False
        return value is self.tap.value or any(step_of(node) for node in nodes(value, until=step_of))

    def is_activation(self, value: Any) -> bool:
        """Whether a value depends on the image."""
        return isinstance(value, Tensor) and (value in self._others or self.depends(value))

    def is_of_image(self, *sources: Tensor) -> bool:
        """Whether the values are the image still, weighted by nothing so far."""
        steps = [step_of(source.grad_fn) for source in sources]
        start = self.tap.value if self.tap.is_image else None
        return all(
            source is start if step is None else step.of_image for source, step in zip(sources, steps, strict=True)
        )

    def share(self, usual: Share, *sources: Tensor) -> Share:
        return self.sharing.first if self.is_of_image(*sources) else usual

    def relevance(self, logits: Tensor, seeds: Tensor, *, contrast: bool) -> Tensor:
        """Relevance (N, K, ...) where the tap is, for the scores' gradients (N, K, classes) in the logits."""
        if not logits.requires_grad:
            raise CutOff(cut_off(self.tap))
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
                    raise CutOff(cut_off(self.tap))
                if raw.isfinite().all():
                    break
            columns.append(wide(raw) / scale)
        return torch.stack(columns, 1)

    def _last_products(self, logits: Tensor) -> list[Product]:
        """The last weighted sums before the logits. Raises MethodError where something on the way has no rule."""
        for node in nodes(logits):
            step = step_of(node)
            if step is None and not hasattr(node, "variable"):
                name = node.name().removesuffix("0").removesuffix("Backward")
                raise MethodError(
                    f"relevance propagation can't see into {name}, which isn't called as a torch function "
                    f"(it is a custom autograd function, or in a scripted or checkpointed part); {_ADVICE}"
                )
            if step is not None and step.refusal:
                raise MethodError(f"relevance propagation {step.refusal}; {_ADVICE}")
        steps = [step_of(node) for node in nodes(logits, until=_product_of)]
        return [step.product for step in steps if step is not None and step.product is not None]


def _product_of(node: Node) -> Any:
    step = step_of(node)
    return step and step.product


def _probabilities(seeds: Tensor) -> Tensor:
    """The positive ones as shares of 1, and the negative ones of -1."""
    dims = tuple(range(2, seeds.ndim))
    above, below = seeds.clamp(min=0), seeds.clamp(max=0)
    return over(above, above.sum(dims, keepdim=True)) - over(below, below.sum(dims, keepdim=True))


def _nothing(*relevance: Tensor) -> Sequence[Tensor | None]:
    raise AssertionError("a step without a rule was passed")
