"""A model's output, whatever its container and dtype: some rows, several joined, cut from its graph, or widened."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor


def rows(output: Any, index: Any, count: int) -> Any:
    """The rows (a slice, or a tensor of indices) of every tensor that has one for each of `count` images.

    Other tensors, as of constants that a model hands on, stay whole.
    """
    return _each([output], lambda parts: parts[0][index] if parts[0].ndim and len(parts[0]) == count else parts[0])


def joined(outputs: Sequence[Any], counts: Sequence[int]) -> Any:
    """Several outputs of one model, of so many images each, as one, row after row; constants as the first has them."""

    def together(parts: list[Tensor]) -> Tensor:
        each = all(part.ndim and len(part) == count for part, count in zip(parts, counts, strict=True))
        return torch.cat(parts) if each else parts[0]

    return _each(outputs, together)


def detached(output: Any) -> Any:
    """The same output without a graph."""
    return _each([output], lambda parts: parts[0].detach())


def wide(values: Tensor) -> Tensor:
    """Half precision as float32, in which sums keep their digits; other dtypes as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _each(outputs: Sequence[Any], change: Callable[[list[Tensor]], Tensor]) -> Any:
    first = outputs[0]
    if isinstance(first, Tensor):
        return change(list(outputs))
    if isinstance(first, Mapping):
        return type(first)({key: _each([o[key] for o in outputs], change) for key in first})  # type: ignore[call-arg]
    if isinstance(first, tuple | list):
        parts = [_each(several, change) for several in zip(*outputs, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    if is_dataclass(first) and not isinstance(first, type):
        named = [each.name for each in fields(first) if each.init]
        return replace(first, **{name: _each([getattr(o, name) for o in outputs], change) for name in named})
    return first
