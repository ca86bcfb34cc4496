"""Detection: the score of the candidate box that matches a chosen one, before any box is suppressed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sightline.errors import TargetError
from sightline.outputs import wide
from sightline.targets.scores import Target, named

MATCH = 0.5  # intersection over union from which a candidate counts as the chosen box


class Candidates(NamedTuple):
    """What a detector gives for N images before suppression: A candidates each, of C classes.

    `boxes` (N, A, 4), or (N, A, C, 4) where each class has its own, are x0, y0, x1, y1 in the image's pixels;
    `logits` (N, A, C) are what is explained; `shares` (N, A, C), in 0..1, what boxes are ranked by. The background is
    no class. Where an image has fewer candidates than the others, its first is repeated.
    """

    boxes: Tensor
    logits: Tensor
    shares: Tensor


def candidates(output: Any) -> Candidates:
    """The candidates that a model gives. Raises TargetError for any other output."""
    if not isinstance(output, Candidates):
        raise TargetError(
            f"the model gives a {type(output).__name__}, not candidate boxes; load a detector by name, or "
            "wrap yours with a `call` that gives sightline.targets.Candidates"
        )
    return output


def box(chosen: Sequence[float] | Tensor, index: int) -> Target:
    """A class's logit at the candidate that matches a chosen box best: that of the highest overlap times share.

    `chosen` (4,), or (N, 4) for one of each image, is x0, y0, x1, y1 in the image's pixels. Candidates that
    overlap it by MATCH or more (intersection over union) come first. The matching is done anew for each
    output, so that edited images, whose candidates move, can be asked about (the idea of D-RISE, Petsiuk et
    al., CVPR 2021, arXiv 2006.03204, eq. 3).
    """
    wanted = torch.as_tensor(chosen, dtype=torch.float32)

    def score(output: Any) -> Tensor:
        found = candidates(output)
        if not 0 <= index < found.logits.shape[2]:
            raise TargetError(f"no class {index}: the model has {found.logits.shape[2]} classes")
        best = matching(found, wanted, index)
        return wide(found.logits[..., index].gather(1, best[:, None])[:, 0])

    return named(score, f"class {index} in a box")


def matching(found: Candidates, wanted: Tensor, index: int) -> Tensor:
    """The places (N,) of the candidates that match the boxes `wanted` (4,) or (N, 4) best as a class."""
    boxes = found.boxes[:, :, index] if found.boxes.ndim == 4 else found.boxes
    overlap = overlaps(boxes.detach().float(), wanted.to(boxes.device).reshape(-1, 1, 4))
    fit = overlap * found.shares[..., index].detach().float()
    return torch.where(overlap >= MATCH, fit + 1, fit).argmax(1)


def overlaps(these: Tensor, those: Tensor) -> Tensor:
    """Intersection over union (...) of boxes (..., 4) with boxes that broadcast to them; 0 where both are empty."""
    low, high = torch.maximum(these[..., :2], those[..., :2]), torch.minimum(these[..., 2:], those[..., 2:])
    both = (high - low).clamp(min=0).prod(-1)
    areas = [(each[..., 2:] - each[..., :2]).clamp(min=0).prod(-1) for each in (these, those)]
    return both / (areas[0] + areas[1] - both).clamp(min=torch.finfo(both.dtype).tiny)
