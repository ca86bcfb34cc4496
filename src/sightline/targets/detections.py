"""Detections: the boxes that a person is shown, once those that overlap a better one of the same class are left out."""

from typing import NamedTuple

from sightline.targets.boxes import Candidates, overlaps

Corners = tuple[float, float, float, float]


class Detection(NamedTuple):
    """One box x0, y0, x1, y1 in the image's pixels, its class, and its share, 0..1."""

    box: Corners
    index: int
    share: float


def detections(
    found: Candidates, *, share: float = 0.3, overlap: float = 0.5, most: int = 100
) -> list[list[Detection]]:
    """Each image's boxes of a share or more, highest first; of a class, none overlaps a better one by more."""
    each = []
    for n in range(len(found.shares)):
        kept: list[Detection] = []
        places, classes = (found.shares[n] >= share).nonzero(as_tuple=True)
        boxes = found.boxes[n, places] if found.boxes.ndim == 3 else found.boxes[n, places, classes]
        shares = found.shares[n, places, classes]
        for at in shares.argsort(descending=True, stable=True).tolist():
            index = int(classes[at])
            same = [boxes.new_tensor(one.box) for one in kept if one.index == index]
            if len(kept) < most and all(float(overlaps(boxes[at], other)) <= overlap for other in same):
                x0, y0, x1, y1 = boxes[at].tolist()
                kept.append(Detection((x0, y0, x1, y1), index, float(shares[at])))
        each.append(kept)
    return each
