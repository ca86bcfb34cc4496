"""Average maps: many maps brought into one frame, each as a share of its own evidence.

A frame is a rectangle of the picture, cut into SIDE x SIDE cells. A cell holds the evidence of the pixels under it,
of a pixel that it covers in part that part of it, so that nothing is lost or doubled, whatever the picture's size.
"""

from collections.abc import Hashable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.audit.found import SIDE
from sightline.geometry import Box

Cells = NDArray[np.float32]  # (SIDE, SIDE)


def in_frame(shares: NDArray[np.floating], frame: Box, side: int = SIDE) -> Cells:
    """Shares (height, width) of a picture's pixels -> (side, side) of the cells of a frame; none outside it."""
    height, width = shares.shape
    x0, y0, x1, y1 = frame
    return np.asarray(_under(y0, y1, side, height) @ shares @ _under(x0, x1, side, width).T, dtype=np.float32)


def whole(shares: NDArray[np.floating], side: int = SIDE) -> Cells:
    """Shares (height, width) of a picture's pixels -> (side, side) of the whole picture."""
    return in_frame(shares, (0, 0, shares.shape[1], shares.shape[0]), side)


def around(box: Box) -> Box:
    """The frame of which a box spans the middle half of each side."""
    x0, y0, x1, y1 = box
    across, down = (x1 - x0) / 2, (y1 - y0) / 2
    return x0 - across, y0 - down, x1 + across, y1 + down


def _under(start: float, end: float, cells: int, pixels: int) -> NDArray[np.float64]:
    """(cells, pixels): how much of each pixel lies under each of the cells that tile [start, end)."""
    edges = np.linspace(start, end, cells + 1)
    left = np.arange(pixels)
    return (np.minimum(edges[1:, None], left + 1) - np.maximum(edges[:-1, None], left)).clip(0)


class Averages:
    """Means of cells by group, of as many maps as come, in the picture's frame and in the object's; sums are kept."""

    def __init__(self) -> None:
        self._sums: dict[Hashable, NDArray[np.float64]] = {}
        self._counts: dict[Hashable, int] = {}

    def add(self, groups: Iterable[Hashable], average: Cells, aligned: Cells | None) -> None:
        """Count a map in some groups; one without `aligned` cells only in the picture's frame."""
        for group in groups:
            for frame, cells in (("average", average), ("aligned", aligned)):
                if cells is not None:
                    key = group, frame
                    self._sums[key] = self._sums[key] + cells if key in self._sums else cells.astype(np.float64)
                    self._counts[key] = self._counts.get(key, 0) + 1

    def average(self, group: Hashable) -> Tensor | None:
        """The mean (SIDE, SIDE) of a group's maps in the picture's frame, float32; None of no maps."""
        return self._mean((group, "average"))

    def aligned(self, group: Hashable) -> Tensor | None:
        """The mean (SIDE, SIDE) of a group's maps in the object's frame, float32; None where no object is known."""
        return self._mean((group, "aligned"))

    def _mean(self, key: Hashable) -> Tensor | None:
        if key not in self._sums:
            return None
        return torch.from_numpy((self._sums[key] / self._counts[key]).astype(np.float32))
