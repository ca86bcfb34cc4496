"""Muting: the least set of cells without which the model no longer believes in the class.

What Dabkowski and Gal, *Real Time Image Saliency for Black Box Classifiers*, NeurIPS 2017, arXiv
1705.07857, call the smallest destroying region. They train a net to draw it; here it is sought for
each image on a grid: cells are muted greedily until the class's confidence is gone, and those that
turn out not to be needed are shown again (backward elimination). No cell of the set that is found
can be left out; that no other set is smaller, nobody checks.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from sightline.errors import MethodError
from sightline.methods.occlusion import background
from sightline.types import Maps, Questions

Confidence = Callable[[Tensor], Tensor]
"""The confidence (N, m) in one target when m sets (N, m, cells) of cells are muted."""


def muting(ask: Questions, *, cells: int = 7, until: float = 0.1, fill: str = "zero") -> Maps:
    """Maps (N, K, cells, cells): for a cell of the set, conf(set without it) - conf(set) over conf(nothing); else 0.

    conf(S) is the confidence when S is muted. Each image and target has its own set, which lowers its
    confidence to `until` of the image's own or below. Where the search finds none, the lowest that it
    reached is its goal; where that is the image's own, the set is empty and the map 0. Of equals the
    first cell in reading order is taken. `fill` is what muted cells show, see `occlusion.background`.
    """
    height, width = ask.image.shape[-2:]
    if not 1 <= cells <= min(height, width) or not 0 <= until < 1:
        raise MethodError(
            f"muting takes 1 cell per side or more, up to one per pixel, and a share of 0 or more, below 1; got "
            f"cells={cells}, until={until} and {height} x {width} pixels; leave them out for 7 and 0.1"
        )
    blank = background(ask.image, fill)[:, None]
    row, column = (torch.arange(side, device=blank.device) * cells // side for side in (height, width))
    cell = row[:, None] * cells + column  # of each pixel

    def confidence_in(k: int) -> Confidence:
        def confidence(muted: Tensor) -> Tensor:
            parts = ask.parts(muted.shape[1])
            shown = (torch.where(muted[:, part][..., cell].unsqueeze(2), blank, ask.image[:, None]) for part in parts)
            return torch.cat([ask.confidence(images)[..., k] for images in shown], 1)

        return confidence

    own = ask.confidence(ask.image[:, None])[:, 0]
    found = [_missed(confidence_in(k), own[:, k], cells**2, until) for k in range(own.shape[1])]
    return torch.stack(found, 1).view(*own.shape, cells, cells).to(ask.image)


def _missed(confidence: Confidence, own: Tensor, cells: int, until: float) -> Tensor:
    """For each cell (N, cells) of each image's set, how much it is missed; 0 outside the set."""
    order, path = _grown(confidence, own, cells, until)
    goal = torch.maximum(until * own, path.amin(1))
    size = (path <= goal[:, None]).int().argmax(1)  # the shortest way to the goal
    taken = torch.arange(order.shape[1], device=own.device) < size[:, None]
    muted = torch.zeros(len(own), cells, dtype=torch.bool, device=own.device).scatter(1, order, taken)
    return _pruned(confidence, muted, goal) / torch.where(own > 0, own, 1)[:, None]


def _grown(confidence: Confidence, own: Tensor, cells: int, until: float) -> tuple[Tensor, Tensor]:
    """Which cell each round muted (N, rounds), and the confidence before the first and after each (N, rounds + 1).

    Images that have reached their goal go on with the others, to no effect.
    """
    muted = torch.zeros(len(own), cells, dtype=torch.bool, device=own.device)
    order: list[Tensor] = []
    path = [own]
    while (torch.stack(path).amin(0) > until * own).any() and len(order) < cells:
        left = (~muted).nonzero()[:, 1].view(len(own), -1)
        lowest, at = confidence(muted[:, None] | one_hot(left, cells).bool()).min(1)
        order.append(left.gather(1, at[:, None])[:, 0])
        path.append(lowest)
        muted = muted | one_hot(order[-1], cells).bool()
    rounds = torch.stack(order, 1) if order else own.new_zeros(len(own), 0, dtype=torch.long)
    return rounds, torch.stack(path, 1)


def _pruned(confidence: Confidence, muted: Tensor, goal: Tensor) -> Tensor:
    """By how much confidence rises when a cell (N, cells) of a set is shown again, once no cell can be spared."""
    while muted.any():
        size = int(muted.sum(1).max())
        members = muted.int().argsort(dim=1, descending=True, stable=True)[
            :, :size
        ]  # a smaller set's last are no members
        inside = muted.gather(1, members)
        shown = confidence(muted[:, None] & ~one_hot(members, muted.shape[1]).bool())
        least, at = shown.where(inside, torch.inf).min(1)
        spare = least <= goal
        if not spare.any():
            rise = (shown - confidence(muted[:, None])).where(inside, 0)
            return torch.zeros(muted.shape, device=muted.device).scatter(1, members, rise)
        dropped = members.gather(1, at[:, None])
        muted = muted.scatter(1, dropped, muted.gather(1, dropped) & ~spare[:, None])
    return torch.zeros(muted.shape, device=muted.device)
