"""Linear imputation: removed pixels become what their neighbours say, so that their shape tells the model nothing.

Rong et al., *A Consistent and Efficient Evaluation Strategy for Attribution Methods*, ICML 2022, arXiv
2202.00449: each removed pixel is the weighted mean of its eight neighbours, removed ones too, which
makes one linear system. They factorise it; here conjugate gradients with a multigrid cycle come within
1e-4 of its solution, a hundredth of the noise that ROAD adds, in a fraction of the time at 224 x 224.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

LEVELS = 5  # grids, each half as fine as the one before
DAMPING = 0.8  # of a sweep
SWEEPS = 8  # on the coarsest grid
TOLERANCE = 2e-5  # what a cycle may still change
ROUNDS = 200  # far more than are needed


class Grid(NamedTuple):
    """Which pixels (H, W) are unknown, 1 or 0, and the sum of the weights of each one's neighbours in the image."""

    hole: Tensor
    weight: Tensor


def imputed(image: Tensor, removed: Tensor) -> Tensor:
    """The image (C, H, W) with each removed pixel (H, W) the mean of its neighbours; at least one must be left."""
    height, width = removed.shape
    cell = 2 ** (LEVELS - 1)
    margin = (0, -width % cell, 0, -height % cell)
    hole = pad(removed.to(image.device, torch.float32), margin)
    known = pad(image.float(), margin) * (1 - hole)
    grids = _grids(hole, pad(torch.ones_like(image[0], dtype=torch.float32), margin))

    found = torch.zeros_like(known)
    residual = hole * _around(known)
    change = _cycle(residual, grids)
    direction, size = change, _dot(residual, change)
    for _ in range(ROUNDS):
        if change.abs().max() < TOLERANCE:
            break
        pushed = _applied(direction, grids[0])
        length = _share(size, _dot(direction, pushed))
        found, residual = found + length * direction, residual - length * pushed
        change = _cycle(residual, grids)
        before, size = size, _dot(residual, change)
        direction = change + _share(size, before) * direction
    return (known + found)[..., :height, :width].to(image.dtype)


def _grids(hole: Tensor, inside: Tensor) -> list[Grid]:
    """Grids from fine to coarse; a coarse pixel is unknown where all four that it stands for are."""
    grids = [Grid(hole, _around(inside))]
    for _ in range(1, LEVELS):
        hole = (avg_pool2d(hole[None], 2)[0] == 1).float()
        inside = (avg_pool2d(inside[None], 2)[0] > 0).float()
        grids.append(Grid(hole, _around(inside)))
    return grids


def _cycle(residual: Tensor, grids: list[Grid]) -> Tensor:
    """About what solves for the residual: a sweep, what the next coarser grid says about the rest, a sweep."""
    (hole, weight), *coarser = grids
    sweep = torch.where(hole > 0, DAMPING / weight, 0)
    found = sweep * residual
    if not coarser:
        for _ in range(SWEEPS):
            found = found + sweep * (residual - _applied(found, grids[0]))
        return found
    rest = 4 * avg_pool2d(residual - _applied(found, grids[0]), 2)
    wide = _cycle(coarser[0].hole * rest, coarser).repeat_interleave(2, -1).repeat_interleave(2, -2)
    found = found + hole * wide
    return found + sweep * (residual - _applied(found, grids[0]))


def _applied(values: Tensor, grid: Grid) -> Tensor:
    """The system's left side: each unknown times its weight, less its neighbours."""
    return grid.hole * (grid.weight * values - _around(values))


def _around(values: Tensor) -> Tensor:
    """The sum of each pixel's neighbours: a sixth of those beside it, a twelfth of those across its corners.

    A (1 2 1) filter down and across has 1 at the corners, 2 beside and 4 at the pixel itself.
    """
    down = 2 * values
    down[..., 1:, :] += values[..., :-1, :]
    down[..., :-1, :] += values[..., 1:, :]
    both = 2 * down
    both[..., 1:] += down[..., :-1]
    both[..., :-1] += down[..., 1:]
    return both.sub_(values, alpha=4).div_(12)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1), keepdim=True)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, and 0 where a channel is done and there is nothing to divide."""
    return torch.where(whole > 0, part / whole, 0)
