"""One pass through a model, with forward hooks that act in the asking thread only."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sightline.engine.adapted import Adapted, OneByOne
from sightline.engine.loan import borrowed
from sightline.errors import LayerError, ModelError, first_line
from sightline.layers import Layer

_TORCHS = (RuntimeError, AssertionError)
_ANYS = (*_TORCHS, TypeError, ValueError, LookupError, AttributeError)
"""What torch raises, and what any code does that is given inputs which it doesn't take."""

Hook = Callable[[nn.Module, Any, Any], Any]


@contextmanager
def hooked(hooks: Sequence[tuple[nn.Module, Hook]]) -> Iterator[None]:
    """Forward hooks that act only in this thread."""
    asker = threading.get_ident()
    handles: list[RemovableHandle] = []

    def mine(hook: Hook) -> Hook:
        def act(module: nn.Module, inputs: Any, output: Any) -> Any:
            return hook(module, inputs, output) if threading.get_ident() == asker else None

        return act

    try:
        for module, hook in hooks:
            if isinstance(module, torch.jit.ScriptModule):
                raise LayerError(
                    "the layers of a TorchScript model can't be read; ask about its image (occlusion, rise, saliency, "
                    "integrated-gradients), or export the nn.Module to a .pt2 file, whose layers can"
                )
            handles.append(module.register_forward_hook(mine(hook)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim >= 2


def main_tensor(output: Any, layer: Layer | None = None) -> Tensor | None:
    """The tensor in a layer's output: itself, the first floating one in a tuple, list or mapping, or the layer's part.

    Raises LayerError where there is no such part.
    """
    parts: dict[str, Tensor]
    if isinstance(output, Mapping):
        parts = {str(key): part for key, part in output.items() if _is_map(part)}
    elif isinstance(output, tuple | list):
        parts = {str(place): part for place, part in enumerate(output) if _is_map(part)}
    else:
        parts = {"": output} if _is_map(output) else {}
    if layer is None or layer.part is None:
        return next(iter(parts.values()), None)
    if layer.part not in parts or not layer.part:
        there = ", ".join(parts)
        raise LayerError(
            f"layer {layer.name!r} ({type(layer.module).__name__}) has no part {layer.part!r}: it gives "
            + (f"the parts {there}" if there else f"a {type(output).__name__}; name the layer alone")
        )
    return parts[layer.part]


def replaced(output: Any, old: Tensor, new: Tensor) -> Any:
    """The output with `new` in the place of `old`."""
    if isinstance(output, Tensor):
        return new
    if isinstance(output, Mapping):
        return type(output)({key: new if part is old else part for key, part in output.items()})  # type: ignore[call-arg]
    parts = [new if part is old else part for part in output]
    return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)


def run(model: nn.Module, image: Tensor, hooks: Sequence[tuple[nn.Module, Hook]]) -> Any:
    failures = _ANYS if isinstance(model, Adapted) else _TORCHS
    with hooked(hooks):
        try:
            return model.each(image) if isinstance(model, OneByOne) and not hooks else model(image)
        except torch.OutOfMemoryError:
            raise
        except failures as error:
            reason = first_line(error)
            while isinstance(model, Adapted):
                model = model.module
            raise ModelError(
                f"{type(model).__name__} failed on an image of shape {tuple(image.shape)}, {image.dtype}: {reason}"
            ) from error


def plain(image: Tensor) -> Tensor:
    """A copy of the image that autograd can use, whoever made it, and the model overwrite."""
    return image.detach().clone()


def answered(model: nn.Module, image: Tensor) -> Any:
    """The model's output for an image, without a graph."""
    with borrowed(model), torch.inference_mode(False), torch.no_grad():
        return run(model, plain(image), [])
