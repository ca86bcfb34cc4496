"""The engine: runs a borrowed model and takes gradients at its layers. The only file with hooks and autograd.

The forward pass records nothing up to the first layer asked for. There a hook makes the output a
leaf of the autograd graph and passes on a clone of it, so that an in-place operation after the
layer can't overwrite what was captured; gradients are taken from the scores to that leaf and
nowhere else. Parameters are never touched, and whatever happens the model is left as it was found.
"""

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge
from torch.utils.hooks import RemovableHandle

from sightline.errors import CutOff, LayerError, LayerNotReached, ModelError, first_line
from sightline.layers import Call, Layer, Layout, is_feature, layout_of

CHUNK_BYTES = 32 * 2**20
MOST_IN_CHUNK = 64
HALF_SCALE = 256.0  # float16 gradients below 6e-5 lose digits; a power of two scales them exactly

_LINEAR_STEPS = {
    *("AccumulateGrad", "Add", "Addmm", "AdaptiveAvgPool2D", "AvgPool2D", "Cat", "Clone", "Expand", "Gather"),
    *("IndexSelect", "Mean", "Mm", "Neg", "Permute", "ReshapeAlias", "Select", "Slice", "Squeeze", "Stack", "Sub"),
    *("Sum", "T", "ToCopy", "Transpose", "UnsafeView", "Unsqueeze", "View"),
}


def bare(model: nn.Module) -> nn.Module:
    """The module inside torch.compile's, DataParallel's and DistributedDataParallel's wrappers.

    Raises ModelError for TorchScript, which has no hooks.
    """
    while True:
        if isinstance(model, torch.jit.ScriptModule):
            raise ModelError(
                "a TorchScript model was given, whose layers can't be read; "
                "pass the nn.Module that it was scripted from"
            )
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


@dataclass(slots=True)
class _Loan:
    training: list[nn.Module]
    compiled: bool
    borrowers: int = 0


@dataclass(slots=True)
class _Stance:
    """torch.compile's process-wide stance, forced to eager while any loan needs it."""

    context: AbstractContextManager[Any] = field(default_factory=nullcontext)
    users: int = 0

    def acquire(self) -> None:
        if not self.users:
            self.context = torch.compiler.set_stance("force_eager")
            self.context.__enter__()
        self.users += 1

    def release(self) -> None:
        self.users -= 1
        if not self.users:
            self.context.__exit__(None, None, None)


_lock = threading.Lock()
_loans: WeakKeyDictionary[nn.Module, _Loan] = WeakKeyDictionary()
_stance = _Stance()


def _is_compiled(module: nn.Module) -> bool:
    """Whether by `module.compile()`, as torch.compile's wrapper, or by a compiled forward."""
    wrapped = "_orig_mod" in module._modules or hasattr(module.forward, "_torchdynamo_orig_callable")
    return wrapped or module._compiled_call_impl is not None


@contextmanager
def borrowed(model: nn.Module) -> Iterator[None]:
    """The model in eval mode and uncompiled; training flags and the random state are put back at the end.

    Several threads may borrow one model: the first changes the flags, the last restores them.
    """
    with _lock:
        loan = _loans.get(model)
        if loan is None:
            modules = list(model.modules())
            compiled = any(map(_is_compiled, modules))
            loan = _loans[model] = _Loan([m for m in modules if m.training], compiled)
            if compiled:
                _stance.acquire()
            for module in loan.training:
                module.training = False
        loan.borrowers += 1
    try:
        # A walk over a large net's parameters costs as much as its hooks, so only where a GPU has been used.
        cuda = bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
        devices = {p.device for p in model.parameters() if p.device.type == "cuda"} if cuda else ()
        with torch.random.fork_rng(list(devices)):
            yield
    finally:
        with _lock:
            loan.borrowers -= 1
            if not loan.borrowers:
                for module in loan.training:
                    module.training = True
                if loan.compiled:
                    _stance.release()
                del _loans[model]


Hook = Callable[[nn.Module, Any, Any], Any]


@contextmanager
def _hooked(hooks: Sequence[tuple[nn.Module, Hook]]) -> Iterator[None]:
    """Forward hooks that act only in this thread."""
    asker = threading.get_ident()
    handles: list[RemovableHandle] = []

    def mine(hook: Hook) -> Hook:
        def act(module: nn.Module, inputs: Any, output: Any) -> Any:
            return hook(module, inputs, output) if threading.get_ident() == asker else None

        return act

    try:
        for module, hook in hooks:
            handles.append(module.register_forward_hook(mine(hook)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim >= 2


def _main_tensor(output: Any) -> Tensor | None:
    """The tensor in a layer's output: itself, or the first floating one in a tuple, list or mapping."""
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else [output]
    return next((part for part in parts if _is_map(part)), None)


def _replaced(output: Any, old: Tensor, new: Tensor) -> Any:
    """The output with `new` in the place of `old`."""
    if isinstance(output, Tensor):
        return new
    if isinstance(output, Mapping):
        return type(output)({key: new if part is old else part for key, part in output.items()})  # type: ignore[call-arg]
    parts = [new if part is old else part for part in output]
    return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)


def _run(model: nn.Module, image: Tensor, hooks: Sequence[tuple[nn.Module, Hook]]) -> Any:
    with _hooked(hooks):
        try:
            return model(image)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, AssertionError) as error:
            reason = first_line(error)
            raise ModelError(
                f"{type(model).__name__} failed on an image of shape {tuple(image.shape)}, {image.dtype}: {reason}"
            ) from error


def _plain(image: Tensor) -> Tensor:
    """A copy of the image that autograd can use, whoever made it, and the model overwrite."""
    return image.detach().clone()


@dataclass(slots=True)
class _Tap:
    """What one layer gave in one forward pass."""

    layer: Layer
    alone: bool
    value: Tensor | None = None
    handed_on: Tensor | None = None
    calls: int = 0
    starts: int = 0  # how often it was this tap that switched recording on

    def hook(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        self.calls += 1
        if self.layer.call is not None and self.calls != self.layer.call + 1:
            return None
        given = _main_tensor(output)
        if given is None:
            raise LayerError(
                f"layer {self.layer.name!r} ({type(module).__name__}) gives {_described(output)}, "
                "not a floating-point tensor; name another layer"
            )
        if given.is_inference():
            raise CutOff(
                f"layer {self.layer.name!r} runs under torch.inference_mode inside the model's own forward, "
                "where no gradient can be taken; take that decorator off or use torch.no_grad in its place"
            )
        keep_graph = given.requires_grad and not self.alone
        self.value = given if keep_graph else given.detach().requires_grad_()
        self.starts += not torch.is_grad_enabled()
        torch.set_grad_enabled(True)
        self.handed_on = self.value.clone()
        return _replaced(output, given, self.handed_on)


def _described(output: Any) -> str:
    return f"a {output.dtype} tensor" if isinstance(output, Tensor) else f"a {type(output).__name__}"


@dataclass(slots=True)
class Answer:
    """A model's output for an image, with the graph from it back to the layers asked for.

    `activations` holds one tensor (N, C, *grid) per layer, `layouts` how each was found.
    """

    output: Any
    activations: list[Tensor]
    layouts: list[Layout]
    _taps: list[_Tap]

    def gradients(self, scores: Tensor, columns: Tensor | None = None) -> Iterator[list[Tensor]]:
        """The layers' gradients (N, k, C, *grid) of scores (N, M), in float32 or wider, some of K at a time.

        `columns` (N, K) are the scores asked about, by default all; to pick them here spares autograd
        the picking. Chunks bound the memory: 32 MB of activations, at most 64 scores.
        Raises CutOff where a layer doesn't reach the scores, or only its prefix tokens do.
        """
        if columns is None:
            columns = torch.arange(scores.shape[1], device=scores.device).expand(scores.shape)
        values = [tap.value for tap in self._taps if tap.value is not None]
        chunk = min(max(CHUNK_BYTES // max(sum(v.nbytes for v in values), 1), 1), MOST_IN_CHUNK)
        pools = [_pool(tap, scores) if columns.shape[1] > 1 else None for tap in self._taps]
        for part in torch.split(columns, chunk, 1):
            raw = _differentiate(scores, part, values, pools) if scores.requires_grad else [None] * len(values)
            grids = []
            for tap, layout, gradient in zip(self._taps, self.layouts, raw, strict=True):
                if gradient is None:
                    raise CutOff(
                        f"the score doesn't depend on layer {tap.layer.name!r} ({type(tap.layer.module).__name__}); "
                        "name a layer on the way from the image to the score"
                    )
                grid = layout.to_grid(gradient.movedim(0, 1))
                if layout.prefix and gradient.any() and not grid.any():
                    raise CutOff(
                        f"only the class token of layer {tap.layer.name!r} reaches the score, none of its {layout} "
                        "positions does; name a layer before, or none to have one chosen"
                    )
                grids.append(grid)
            yield grids

    def nonlinear_step(self, scores: Tensor, layer: int = 0) -> str | None:
        """The name of a non-linear operation between a layer and the scores, or None where all are linear."""
        value = self._taps[layer].value
        seen, waiting = {value.grad_fn if value is not None else None}, [scores.grad_fn]
        while waiting:
            node = waiting.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            step = node.name().split("Backward")[0].rpartition("::")[2]
            if step not in _LINEAR_STEPS:
                return step
            waiting += [before for before, _ in node.next_functions]
        return None


@contextmanager
def asked(model: nn.Module, image: Tensor, layers: Sequence[Layer]) -> Iterator[Answer]:
    """Run the model once on an image (N, C, ...); inside the block scores can be built on the answer's output.

    Raises LayerError (not reached, no space, not a tensor) and ModelError (the model failed).
    """
    with borrowed(model), torch.inference_mode(False), torch.no_grad():
        image = _plain(image)
        taps = [_Tap(layer, alone=len(layers) == 1) for layer in layers]
        hooks = [(tap.layer.module, tap.hook) for tap in taps]
        output = _run(model, image, hooks)
        lost = not _has_graph(output) or sum(tap.starts for tap in taps) > 1
        if lost and all(tap.value is not None for tap in taps):
            # A no_grad block inside the model switched recording off again after a layer.
            for tap in taps:
                tap.value, tap.calls = None, 0
            with torch.enable_grad():
                output = _run(model, image, hooks)
        layouts, activations = [], []
        for tap in taps:
            if tap.value is None:
                raise LayerNotReached(_not_reached(tap))
            layout = layout_of(tap.layer, tap.value, image.shape[2:])
            layouts.append(layout)
            activations.append(layout.to_grid(_wide(tap.value.detach())))
        with torch.enable_grad():
            yield Answer(output, activations, layouts, taps)


def _has_graph(output: Any) -> bool:
    output = getattr(output, "logits", output)
    if isinstance(output, Tensor):
        return output.requires_grad
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else ()
    return any(map(_has_graph, parts))


def _not_reached(tap: _Tap) -> str:
    name = f"layer {tap.layer.name!r} ({type(tap.layer.module).__name__})"
    if not tap.calls:
        return f"{name} isn't called in the model's forward pass; name one that is"
    return f"{name} is called {tap.calls} times, so there is no call {tap.layer.call}; calls count from 0"


def _wide(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


@dataclass(frozen=True, slots=True)
class _Pool:
    """A mean over some dimensions of a layer's output, where that is all that the scores see of it."""

    edge: GradientEdge
    dims: tuple[int, ...]
    keepdim: bool

    def spread(self, pooled: Tensor, like: Tensor) -> Tensor:
        """Gradients (k, ...) of the mean -> (k, *like.shape) of what was averaged, as a view: no cell is copied."""
        if not self.keepdim:
            for dim in self.dims:
                pooled = pooled.unsqueeze(dim + 1)
        return (pooled / math.prod(like.shape[dim] for dim in self.dims)).expand(-1, *like.shape)


def _pool(tap: _Tap, scores: Tensor) -> _Pool | None:
    """The average pooling after a layer, if nothing else uses the layer; it spares one copy of the map per score."""
    if tap.value is None or tap.handed_on is None:
        return None
    users, seen, waiting = [], set(), [scores.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if any(before is tap.handed_on.grad_fn for before, _ in node.next_functions):
            users.append(node)
        waiting += [before for before, _ in node.next_functions]
    if len(users) != 1 or users[0].name() != "MeanBackward1":
        return None
    saved: Any = users[0]
    rank = tap.value.ndim
    dims = sorted((dim - 2**64 if dim >= 2**63 else dim) % rank for dim in saved._saved_dim or range(rank))
    return _Pool(GradientEdge(users[0], 0), tuple(dims), bool(saved._saved_keepdim))


def _differentiate(
    scores: Tensor, columns: Tensor, values: Sequence[Tensor], pools: Sequence[_Pool | None]
) -> list[Tensor | None]:
    """Gradients (k, N, ...) of the scores in `columns` (N, k) for each value; None where there is no way."""
    questions = scores.new_zeros(columns.shape[1], *scores.shape)
    questions.scatter_(2, columns.T[:, :, None], 1)
    sources: list[Any] = [value if pool is None else pool.edge for value, pool in zip(values, pools, strict=True)]
    ask = _each if len(questions) == 1 else _together

    def spread(raw: Sequence[Tensor | None], scale: float) -> list[Tensor | None]:
        wide = [None if g is None else _wide(g) / scale if scale != 1 else _wide(g) for g in raw]
        return [
            g if g is None or pool is None else pool.spread(g, value)
            for g, value, pool in zip(wide, values, pools, strict=True)
        ]

    if any(value.dtype is torch.float16 for value in values):
        scaled = ask(scores, sources, questions * HALF_SCALE)
        if all(g is None or g.isfinite().all() for g in scaled):
            return spread(scaled, HALF_SCALE)
    return spread(ask(scores, sources, questions), 1)


def _together(scores: Tensor, sources: Sequence[Any], questions: Tensor) -> list[Tensor | None]:
    try:
        return list(
            torch.autograd.grad(scores, sources, questions, retain_graph=True, allow_unused=True, is_grads_batched=True)
        )
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # an operation that can't be batched, such as a custom autograd function
        return _each(scores, sources, questions)


def _each(scores: Tensor, sources: Sequence[Any], questions: Tensor) -> list[Tensor | None]:
    rows = [
        torch.autograd.grad(scores, sources, question, retain_graph=True, allow_unused=True) for question in questions
    ]
    return [None if column[0] is None else torch.stack(column) for column in zip(*rows, strict=True)]


def trace(model: nn.Module, image: Tensor) -> tuple[list[Call], Any]:
    """Every module's last call that gave a floating-point tensor, in the order of completion, and the output.

    A module that hands on a tensor unchanged isn't listed, except a container in the place of its last part.
    """
    found: list[Call] = []
    counts: dict[nn.Module, int] = {}
    last: tuple[Tensor | None, int] = (None, 0)  # an in-place module gives the same tensor in a new version

    def listed(name: str) -> Hook:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            nonlocal last
            counts[module] = counts.get(module, 0) + 1
            value = _main_tensor(output)
            if value is None:
                return
            call = Call(Layer(name, module), tuple(value.shape), is_feature(module), counts[module])
            version = 0 if value.is_inference() else value._version
            if value is not last[0] or version != last[1]:
                found.append(call)
            elif found[-1].layer.name.startswith(f"{name}."):
                found[-1] = replace(call, feature=found[-1].feature)
            last = (value, version)

        return hook

    hooks = [(module, listed(name)) for name, module in model.named_modules() if name]
    with borrowed(model), torch.inference_mode(False), torch.no_grad():
        output = _run(model, _plain(image), hooks)
    return [call for call in found if call.times == counts[call.layer.module]], output


def reach(
    model: nn.Module, image: Tensor, read: Callable[[Any], Tensor], call: Call, layout: Layout
) -> tuple[int, int]:
    """How many of the scores `read(output)` (N, K, ...) depend on the first channel of a layer, and K.

    Told whatever the weights: the channel is set to NaN, which no operation of a network swallows,
    not even a weight of zero; the scores that turn NaN depend on it.
    """
    times = 0

    def poison(module: nn.Module, inputs: Any, output: Any) -> Any:
        nonlocal times
        times += 1
        value = _main_tensor(output)
        if value is None or times != call.times:
            return None
        spoilt = value.clone()
        layout.to_grid(spoilt)[:, 0] = torch.nan
        return _replaced(output, value, spoilt)

    with borrowed(model), torch.inference_mode(False), torch.no_grad():
        scores = read(_run(model, _plain(image), [(call.layer.module, poison)]))
    spoilt = scores[0].isnan().flatten(1).any(1) if scores.ndim > 2 else scores[0].isnan()
    return int(spoilt.sum()), len(spoilt)
