"""Grids of any rank: an image's positions are (H, W), a signal's (L,), a volume's (D, H, W), a clip's (T, H, W)."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor
from torch.nn.functional import interpolate

from sightline.errors import MethodError

MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def resized(values: Tensor, size: Sequence[int], *, antialias: bool = False) -> Tensor:
    """Values (a, b, *grid) -> (a, b, *size), linear between cells, which tile evenly (`align_corners=False`).

    Raises MethodError for grids of more than three dimensions.
    """
    if tuple(values.shape[2:]) == tuple(size):
        return values
    if len(size) not in MODES:
        raise MethodError(f"maps are resized in 1 to 3 dimensions, got {len(size)}; ask at one layer alone")
    return interpolate(values, list(size), mode=MODES[len(size)], align_corners=False, antialias=antialias)


def positions(values: Tensor) -> tuple[int, ...]:
    """The dimensions of values (N, C, *grid), or maps (N, K, *grid), that are positions."""
    return tuple(range(2, values.ndim))


def of_each(option: int | Sequence[int], size: Sequence[int], name: str) -> tuple[int, ...]:
    """An option that is one number for all directions of a grid, or one for each. Raises MethodError otherwise."""
    each: tuple[int, ...] = tuple(option) if isinstance(option, list | tuple) else (cast(int, option),) * len(size)
    if len(each) != len(size) or not all(isinstance(one, int) for one in each):
        raise MethodError(
            f"{name}={option!r} doesn't fit {described(size)}: give a whole number for all directions, or one for each"
        )
    return each


def described(size: Sequence[int]) -> str:
    """A grid's size in words: `224 x 224 pixels`."""
    return f"{' x '.join(map(str, size))} pixels"
