"""Detection: the score of the candidate box that matches a chosen one, before any box is suppressed."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from sightline.errors import TargetError
from sightline.outputs import wide
from sightline.targets.scores import Target, named

MATCH = 0.5  # intersection over union from which a candidate counts as the chosen box
NEAR = 1e-7  # a probability this near 0 or 1 has no logit; the float next to 1 is as near


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


def from_yolo(output: Any, *, objectness: bool = False, logits: bool = False) -> Candidates:
    """The candidates in what nets of the YOLO family give in eval mode, before suppression.

    The tensor, or the first of a tuple, is (N, 4 + classes, A), as from version 8 on; with `objectness` it is
    (N, A, 5 + classes), as in versions 5 and 7 and YOLOX. Boxes are centre x, centre y, width, height in the image's
    pixels. What follows are probabilities, or `logits` where the net leaves out its sigmoids. A candidate ranks by
    its class's probability, times that of an object, and that product's logit (log p / (1 - p)) is explained.

        sightline.wrap(net, task="boxes", call=lambda net, image: from_yolo(net(image)))

    Raises TargetError for another shape, and for probabilities that are none.
    """
    values = output[0] if isinstance(output, tuple | list) and output else output
    first = 5 if objectness else 4
    if not isinstance(values, Tensor) or values.ndim != 3 or values.shape[2 if objectness else 1] <= first:
        given = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        layout = "(N, A, 5 + classes), with objectness" if objectness else "(N, 4 + classes, A)"
        raise TargetError(f"a YOLO's output {layout} is expected, got {given}; see sightline.targets.from_yolo")
    values = wide(values if objectness else values.transpose(1, 2))
    scored = values[..., 4:]
    if logits:
        log = logsigmoid(scored)
        log = (log[..., 1:] + log[..., :1] if objectness else log).clamp(max=-NEAR)
        shares, found = log.exp(), log - (-log.expm1()).log()
    elif bool((scored < 0).any() or (scored > 1).any()):
        raise TargetError("probabilities are expected, some are not in 0..1; for a net without sigmoids: logits=True")
    else:
        shares = scored[..., 1:] * scored[..., :1] if objectness else scored
        found = shares.logit(NEAR)
    return Candidates(from_centres(values[..., :4]), found, shares)


def from_detr(output: Any, size: tuple[int, int], *, no_object: bool = True) -> Candidates:
    """The candidates, one for each query, in what nets of the DETR family give for images of `size` (height, width).

    The output has `logits` (N, Q, classes + 1), no object last, or with `no_object=False` (N, Q, classes) of classes
    each on its own, as Deformable DETR; and `pred_boxes` (N, Q, 4): centre x, centre y, width, height in 0..1.
    Raises TargetError for any other output.
    """
    fields = output if isinstance(output, Mapping) else vars(output) if hasattr(output, "__dict__") else {}
    values, boxes = fields.get("logits", fields.get("pred_logits")), fields.get("pred_boxes")
    if not isinstance(values, Tensor) or not isinstance(boxes, Tensor) or values.ndim != 3:
        raise TargetError(
            f"logits (N, Q, classes) and pred_boxes (N, Q, 4) are expected, got a {type(output).__name__} without"
        )
    values = wide(values)
    shares = values.softmax(-1)[..., :-1] if no_object else values.sigmoid()
    height, width = size
    pixels = from_centres(wide(boxes)) * torch.tensor([width, height, width, height], device=boxes.device)
    return Candidates(pixels, values[..., :-1] if no_object else values, shares)


def from_centres(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) of centre x, centre y, width, height as x0, y0, x1, y1."""
    middle, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([middle - half, middle + half], -1)


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
