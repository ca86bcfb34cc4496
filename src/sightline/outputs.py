"""A model's output, whatever its container and dtype: some rows, several joined, cut from its graph, or widened."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def rows(output: Any, index: Any) -> Any:
    """The rows (a slice, or a tensor of indices) of every tensor in the output."""
    return _each([output], lambda parts: parts[0][index] if parts[0].ndim else parts[0])


def joined(outputs: Sequence[Any]) -> Any:
    """Several outputs of one model as one, row after row."""
    return _each(outputs, lambda parts: torch.cat(parts) if parts[0].ndim else parts[0])


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
    return first
