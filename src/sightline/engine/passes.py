"""One pass through a model, with forward hooks that act in the asking thread only."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sightline.engine.loan import borrowed
from sightline.errors import ModelError, first_line

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
            handles.append(module.register_forward_hook(mine(hook)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim >= 2


def main_tensor(output: Any) -> Tensor | None:
    """The tensor in a layer's output: itself, or the first floating one in a tuple, list or mapping."""
    parts = output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else [output]
    return next((part for part in parts if _is_map(part)), None)


def replaced(output: Any, old: Tensor, new: Tensor) -> Any:
    """The output with `new` in the place of `old`."""
    if isinstance(output, Tensor):
        return new
    if isinstance(output, Mapping):
        return type(output)({key: new if part is old else part for key, part in output.items()})  # type: ignore[call-arg]
    parts = [new if part is old else part for part in output]
    return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)


def run(model: nn.Module, image: Tensor, hooks: Sequence[tuple[nn.Module, Hook]]) -> Any:
    with hooked(hooks):
        try:
            return model(image)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, AssertionError) as error:
            reason = first_line(error)
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
