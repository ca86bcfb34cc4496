"""Detections: the boxes that a person is shown, once those that overlap a better one of the same class are left out."""

from typing import NamedTuple

import torch

from sightline.errors import TargetError
from sightline.targets.boxes import Candidates

SMALLEST = 1e-2  # pixels of a side; a box below it is none, as in torchvision's Faster R-CNN

Corners = tuple[float, float, float, float]


class Detection(NamedTuple):
    """One box x0, y0, x1, y1 in the image's pixels, its class, and its share, 0..1."""

    box: Corners
    index: int  # type: ignore[assignment]  # of the class, in the place of a tuple's method
    share: float


def detections(
    found: Candidates, *, share: float = 0.3, overlap: float = 0.5, most: int = 100
) -> list[list[Detection]]:
    """Each image's boxes of more than a share, highest first; of a class, none overlaps a better one by more.

    `overlap` is the intersection over union up to which two stay. Raises TargetError for one not in 0..1.
    """
    from torchvision.ops import batched_nms

    if not (0 <= share <= 1 and 0 <= overlap <= 1):
        raise TargetError(f"share={share} and overlap={overlap} were given; each is in 0..1")
    each = []
    for n, shares in enumerate(found.shares.detach().float()):
        places, classes = (shares > share).nonzero(as_tuple=True)
        boxes = (found.boxes[n, places] if found.boxes.ndim == 3 else found.boxes[n, places, classes]).detach().float()
        filled = torch.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) >= SMALLEST
        boxes, classes, own = boxes[filled], classes[filled], shares[places, classes][filled]
        kept = batched_nms(boxes, own, classes, overlap)[:most]
        rows = zip(boxes[kept].tolist(), classes[kept].tolist(), own[kept].tolist(), strict=True)
        each.append([Detection((x0, y0, x1, y1), index, value) for (x0, y0, x1, y1), index, value in rows])
    return each
