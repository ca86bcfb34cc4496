"""Attention weights and their gradients, read off the autograd graph of one pass.

Fused attention hides its weights. With torch's fused kernels switched off for the pass, the same
call records its softmax as any other code does, and the softmax's node keeps the result. So nothing
in the model is patched, and fused, functional and hand-written attention are read alike.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node

from sightline.engine.gradients import HALF_SCALE
from sightline.engine.kernels import unfused
from sightline.engine.loan import borrowed
from sightline.engine.mixed import mixed
from sightline.engine.passes import Hook, main_tensor, plain, replaced, run
from sightline.engine.replay import DivergedError, Record, Replay
from sightline.errors import MethodError
from sightline.layers import Layout, layout
from sightline.outputs import wide
from sightline.types import Attention


def attentions(
    model: nn.Module,
    image: Tensor,
    scores_of: Callable[[Any], Tensor],
    *,
    layerwise: bool = False,
    method: str = "this method",
) -> tuple[Any, list[Attention]]:
    """One pass of an image (N, C, H, W): the output, and every self-attention of the whole grid, first to last.

    `scores_of(output)` gives scores (N, K) with their graph. With `layerwise` each attention has
    the gradients of its own block's scores: the mean of the block's output tokens, put in the place
    of every token of the last block, and read by what follows. That takes one more pass, and for
    each block what follows the last one, of whose outputs `scores_of` has to ask the same as of the
    first. Raises MethodError where attention isn't over one whole grid or can't be seen, and where
    there are no such blocks.
    """
    with borrowed(model), torch.inference_mode(False), torch.enable_grad(), unfused():
        leaf = plain(image).requires_grad_()  # the graph begins here, even if every parameter is frozen
        seen = _Seen(image, averaging=layerwise)
        output = run(model, leaf.clone(), [(module, seen.hook) for module in model.modules()])
        scores = scores_of(output)
        try:
            if others := mixed(model):
                raise _UndefinedError(f"mixes {others} tokens with the image's")
            found, tokens = _over_one_grid(_softmaxes(scores, leaf), seen)
            blocks = _blocks(model, found, seen, scores) if layerwise else []
        except _UndefinedError as reason:
            raise MethodError(
                f"{method} needs {reason.needed}; {type(model).__name__} {reason}; use grad-cam"
            ) from None
        half = image.dtype is torch.float16
        if layerwise:
            tail, gradients = _Tail(model, image, blocks[-1]), []
            for one, block in zip(found, blocks, strict=True):
                gradients += _gradients(scores_of(tail(seen.means[block])), [one], half=half)
        else:
            gradients = _gradients(scores, found, half=half)
        weights = [_by_image(one.weights, len(image))[:, None] for one in found]
        return output, [Attention(*both, tokens.prefix, tokens.grid) for both in zip(weights, gradients, strict=True)]


class _UndefinedError(Exception):
    """What it is about a model that leaves a method undefined."""

    def __init__(self, reason: str, needed: str = "attention over the whole grid") -> None:
        super().__init__(reason)
        self.needed = needed


@dataclass(slots=True)
class _Seen:
    """What the modules of a model gave in one pass: when last how many positions, and the mean of their tokens."""

    image: Tensor
    averaging: bool
    counts: dict[int, int] = field(default_factory=dict)
    means: dict[nn.Module, Tensor] = field(default_factory=dict)
    outputs: dict[nn.Module, Node] = field(default_factory=dict)

    def hook(self, module: nn.Module, inputs: Any, output: Any) -> None:
        value, images = main_tensor(output), len(self.image)
        if value is None or value.grad_fn is None:
            return
        moment = value.grad_fn._sequence_nr()
        if value.ndim == 3 and images in value.shape[:2]:
            along = 1 if value.shape[0] == images else 0  # where both are, the images are taken to come first
            self.counts[value.shape[along]] = moment
            if self.averaging:
                self.means[module], self.outputs[module] = value.mean(along, keepdim=True), value.grad_fn
        elif value.shape[0] == images and (found := layout(value.shape, self.image.shape[2:], strict=True)):
            self.counts[math.prod(found.grid)] = moment


@dataclass(frozen=True, slots=True)
class _Softmax:
    """A softmax over the last dimension, in the graph."""

    node: Node
    weights: Tensor

    @property
    def sizes(self) -> tuple[int, int]:
        return self.weights.shape[-2], self.weights.shape[-1]

    @property
    def is_square(self) -> bool:
        return self.sizes[0] == self.sizes[1]


def _softmaxes(scores: Tensor, leaf: Tensor) -> list[_Softmax]:
    """The softmaxes over the last of three or more dimensions on the way from a leaf to the scores, first to last."""
    users: dict[Node, list[Node]] = {}
    waiting, start = [scores.grad_fn] if scores.grad_fn is not None else [], None
    while waiting:
        node = waiting.pop()
        for before, _ in node.next_functions:
            if before is None:
                continue
            if before not in users:
                waiting.append(before)
                start = before if getattr(before, "variable", None) is leaf else start
            users.setdefault(before, []).append(node)
    depending: set[Node] = set()
    waiting = [start] if start is not None else []
    while waiting:
        node = waiting.pop()
        if node not in depending:
            depending.add(node)
            waiting += users.get(node, [])
    found = []
    for node in sorted(depending, key=lambda node: node._sequence_nr()):
        if node.name() in ("SoftmaxBackward0", "SafeSoftmaxBackward0"):
            saved: Any = node
            weights, dim = saved._saved_result.detach(), saved._saved_dim
            dim -= 2**64 if dim >= 2**63 else 0
            if weights.ndim >= 3 and weights.shape[-1] > 1 and dim in (-1, weights.ndim - 1):
                found.append(_Softmax(node, weights))
    return found


def _over_one_grid(softmaxes: Sequence[_Softmax], seen: _Seen) -> tuple[list[_Softmax], Layout]:
    """The self-attentions among some softmaxes, and how their tokens lie in the image. Raises _UndefinedError.

    An attention that pools, from few tokens to all, may follow them; one before them has left the grid.
    """
    if not softmaxes:
        raise _UndefinedError(
            "records no softmax over tokens on the way from the image to the score "
            "(a kernel of its own, or torch.no_grad inside the model, would hide it)"
        )
    found = [one for one in softmaxes if one.is_square]
    if not found or not all(one.is_square for one in softmaxes[: len(found)]):
        rows, columns = next(one.sizes for one in softmaxes if not one.is_square)
        raise _UndefinedError(f"attends from {rows} tokens to {columns} others")
    images, space = len(seen.image), seen.image.shape[2:]
    tokens = None
    for one in found:
        size, leading = one.sizes[0], one.weights.shape[:-2]
        whole = leading[0] == images if len(leading) == 2 else len(leading) == 1 and leading[0] % images == 0
        given_after = seen.counts.get(size, -1) > one.node._sequence_nr()  # or these aren't tokens, but channels, say
        tokens = layout((images, size, 1), space) if whole and given_after else None
        if tokens is None:
            raise _UndefinedError(f"attends within windows or groups of {size}")
    counts = list(dict.fromkeys(one.sizes[0] for one in found))
    if tokens is None or len(counts) > 1:
        raise _UndefinedError(f"changes its grid between layers ({', '.join(map(str, counts))} tokens)")
    return found, tokens


def _gradients(scores: Tensor, softmaxes: Sequence[_Softmax], *, half: bool) -> list[Tensor]:
    """Gradients (N, K, heads, T, T) of scores (N, K) in each softmax's result, in float32 or wider."""
    edges = [GradientEdge(one.node, 0) for one in softmaxes]
    columns: list[list[Tensor]] = [[] for _ in softmaxes]
    for score in scores.sum(0):
        for scale in (HALF_SCALE, 1.0) if half else (1.0,):  # as in gradients.py
            raw = torch.autograd.grad(score * scale, edges, retain_graph=True, allow_unused=True)
            if all(each is None or each.isfinite().all() for each in raw):
                break
        for column, one, each in zip(columns, softmaxes, raw, strict=True):
            gradient = torch.zeros_like(one.weights) if each is None else each
            column.append(_by_image(gradient, len(scores)) / scale)
    return [torch.stack(column, 1) for column in columns]


def _by_image(values: Tensor, images: int) -> Tensor:
    """(N * heads, T, T) or (N, heads, T, T) -> the latter, in float32 or wider."""
    return wide(values).reshape(images, -1, *values.shape[-2:])


def _blocks(model: nn.Module, found: Sequence[_Softmax], seen: _Seen, scores: Tensor) -> list[nn.Module]:
    """The blocks of a model, one for each attention. Raises _UndefinedError where there are none.

    They are the parts of one container, each of which ended after its own attention and before the
    next, and the scores see the attention through nothing but the last of them.
    """
    candidates = []
    for container in model.modules():
        parts = list(container) if isinstance(container, nn.Sequential | nn.ModuleList) else []
        if len(parts) == len(found) and all(part in seen.means for part in parts) and parts not in candidates:
            nodes = [node for one, part in zip(found, parts, strict=True) for node in (one.node, seen.outputs[part])]
            moments = [node._sequence_nr() for node in nodes]
            if moments == sorted(set(moments)) and not _reached(scores, nodes[-1]) & set(nodes):
                candidates.append(parts)
    if len(candidates) != 1:
        raise _UndefinedError(
            f"has {len(candidates) or 'none'} for its {len(found)} attentions in an nn.Sequential or nn.ModuleList",
            needed="a list of blocks, one for each attention, that give tokens",
        )
    return candidates[0]


def _reached(scores: Tensor, without: Node) -> set[Node]:
    """The nodes that lead to the scores on other ways than through one of them."""
    reached: set[Node] = set()
    waiting = [scores.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node is not without and node not in reached:
            reached.add(node)
            waiting += [before for before, _ in node.next_functions]
    return reached


class _Tail:
    """What follows a model's last block: the block's output tokens in, the model's output out, with its graph.

    The pass up to there is recorded once and replayed after, as by replay.Head.
    """

    def __init__(self, model: nn.Module, image: Tensor, last: nn.Module) -> None:
        self._model, self._image, self._last = model, image, last
        record, end = Record(), 0

        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            nonlocal end
            end = len(record.calls)

        self._pass(note, record)
        self._record = record.calls[:end]

    def __call__(self, mean: Tensor) -> Any:
        """The output where the mean (N, 1, D) stands for every token that the last block gives."""
        replay = Replay(self._record)

        def stand_in(module: nn.Module, inputs: Any, output: Any) -> Any:
            replay.stop()
            value = main_tensor(output)
            if value is None:
                return None
            torch.set_grad_enabled(True)
            return replaced(output, value, mean.expand_as(value).clone())

        try:
            return self._pass(stand_in, replay)
        except DivergedError:  # the model's code isn't the same twice: all of it is run
            return self._pass(stand_in, nullcontext())

    def _pass(self, hook: Hook, mode: AbstractContextManager[Any]) -> Any:
        image = plain(self._image)
        with torch.no_grad(), mode:
            return run(self._model, image, [(self._last, hook)])
