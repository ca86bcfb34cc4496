"""Recipro-CAM: what the head makes of each cell of the features alone.

Byun and Lee, *ReciproCAM: Lightweight Gradient-free Class Activation Map for Post-hoc
Explanations*, CVPR Workshops 2024, arXiv 2209.14074. A mask leaves one cell of the features and, at
the authors' weights, its neighbours; their code instead copies the one cell onto them. The
least score is taken off as in their normalisation; the division by the range, a factor of the
whole map, is left out. The score is the one that was asked about; theirs is its probability.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sightline.types import Maps, Questions

AROUND = torch.tensor([1.0, 2.0, 1.0]) / 4


def recipro_cam(ask: Questions, *, gaussian: bool = True) -> Maps:
    """f(A o mask_xy) less its least value, cell by cell; the mask is a 3 x 3 Gaussian around (x, y), or 1 there.

    In other ranks the Gaussian is 3 cells wide in each direction. Cells outside the grid count nothing.
    """
    activations = ask.activations()
    height, width = activations.shape[-2:]
    scores = []
    for part in ask.parts(height * width, heads=True):
        cells = torch.arange(part.start, part.stop)
        masks = F.one_hot(cells, height * width).float().view(-1, 1, height, width)
        if gaussian:
            masks = _around(masks.view(-1, *ask.grid)).reshape(masks.shape)
        scores.append(ask.of_activations(activations * masks.to(activations)))
    maps = torch.cat(scores, 1).mT.reshape(*ask.scores.shape, height, width)
    alive = activations.flatten(2).any(2)[..., None, None]  # else scores differ by rounding alone
    return (maps - maps.amin((-2, -1), keepdim=True)) * alive


def _around(masks: Tensor) -> Tensor:
    """Masks (m, *grid) spread over the neighbouring cells, one direction after another."""
    for axis in range(1, masks.ndim):
        rows = masks.movedim(axis, -1)
        masks = F.conv1d(rows.reshape(-1, 1, rows.shape[-1]), AROUND.view(1, 1, 3), padding=1).view(rows.shape)
        masks = masks.movedim(-1, axis)
    return masks
