"""Segmentation: the score of a class over a region of the image, which may be a single pixel."""

from typing import Any

import torch
from torch import Tensor

from sightline.errors import TargetError
from sightline.outputs import wide
from sightline.targets.scores import Target, logits, named


def pixel_logits(output: Any) -> Tensor:
    """The logits (N, classes, h, w) of a segmentation net. Raises TargetError where there are others."""
    values = logits(output)
    if values.ndim != 4:
        raise TargetError(
            f"the model gives logits of shape {tuple(values.shape)}, not one per class and pixel (N, classes, h, w); "
            "a region is asked of a segmentation net"
        )
    return values


def region(mask: Tensor, index: int) -> Target:
    """A class's mean logit over a region.

    `mask` (H, W), or (N, H, W) for one of each image, is of bools or weights of 0 and more, of any size: it spans
    the image. Seg-Grad-CAM (Vinogradova et al., 2020, arXiv 2002.11434, eq. 2), which sums over the pixels: a mean
    keeps the size of a logit. Raises TargetError for a mask that is empty, or a class that the model doesn't have.
    """
    if mask.ndim not in (2, 3) or not (mask > 0).flatten(-2).any(-1).all():
        raise TargetError(f"a region needs a mask (height, width) with a pixel in it, got {tuple(mask.shape)}")

    if (mask < 0).any():
        raise TargetError("a region's weights are 0 and more, and this mask has negative ones")

    def score(output: Any) -> Tensor:
        values = pixel_logits(output)
        if not -values.shape[1] <= index < values.shape[1]:
            raise TargetError(f"no class {index}: the model has {values.shape[1]} classes, 0 to {values.shape[1] - 1}")
        weights = at_size(mask, (values.shape[2], values.shape[3])).to(values.device)
        return (wide(values[:, index]) * weights).sum((-2, -1)) / weights.sum((-2, -1))

    return named(score, f"class {index} in a region")


def at_size(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask (..., H, W) as weights (..., h, w): the share of each cell that it covers, exactly."""
    rows, columns = (_covered(cells, pixels) for cells, pixels in zip(size, mask.shape[-2:], strict=True))
    return rows @ mask.float().cpu() @ columns.T


def _covered(cells: int, pixels: int) -> Tensor:
    """(cells, pixels): the share of each cell that each pixel covers, both tiling the same line."""
    edges = torch.arange(cells + 1) * pixels / cells
    places = torch.arange(pixels)
    low = torch.maximum(edges[:-1, None], places)
    high = torch.minimum(edges[1:, None], places + 1)
    return (high - low).clamp(min=0) * cells / pixels


def pixel(x: int, y: int, size: tuple[int, int]) -> Tensor:
    """The mask (height, width) of one pixel (x, y) of an image of `size` (height, width) pixels."""
    height, width = size
    if not (0 <= x < width and 0 <= y < height):
        raise TargetError(f"no pixel ({x}, {y}) in an image of {width} x {height} pixels")
    mask = torch.zeros(size, dtype=torch.bool)
    mask[y, x] = True
    return mask
