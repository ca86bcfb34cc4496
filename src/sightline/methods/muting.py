"""Muting: the least set of cells without which the model no longer believes in the class.

What Dabkowski and Gal, *Real Time Image Saliency for Black Box Classifiers*, NeurIPS 2017, arXiv
1705.07857, call the smallest destroying region. They train a net to draw it; here it is sought for
each image on a grid. Cells are muted greedily until the class's confidence is gone, and those that
turn out not to be needed are shown again (backward elimination). That is done twice, once muting
what lowers the confidence most and once what lowers the score most (the first goes astray where a
rival class takes over, the second where only rivals matter), and the smaller set is kept. No cell
of it can be left out; that no other set is smaller, nobody checks.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from sightline.errors import MethodError
from sightline.methods.grids import described
from sightline.methods.occlusion import background
from sightline.types import Maps, Questions

Measure = Callable[[Tensor], Tensor]
"""A target's confidence, or score, (N, m) when m sets (N, m, cells) of cells are muted."""


def muting(ask: Questions, *, cells: int = 7, until: float = 0.1, fill: str = "zero") -> Maps:
    """Maps (N, K, cells, cells): for a cell of the set, conf(set without it) - conf(set) over conf(nothing); else 0.

    conf(S) is the confidence when S is muted. Each image and target has its own set, which lowers its
    confidence to `until` of the image's own or below. Where the search finds none, the lowest that it
    reached is its goal; where that is the image's own, the set is empty and the map 0. Of equals the
    first cell in reading order is taken. `fill` is what muted cells show, see `occlusion.background`.
    Its cost is a bound: sets of a few cells take a tenth of it.
    """
    size = ask.image.shape[2:]
    if not 1 <= cells <= min(size) or not 0 <= until < 1:
        raise MethodError(
            f"muting takes 1 cell per side or more, up to one per pixel, and a share of 0 or more, below 1; got "
            f"cells={cells}, until={until} and {described(size)}; leave them out for 7 and 0.1"
        )
    blank = background(ask.image, fill)[:, None]
    cell = torch.zeros((), dtype=torch.long, device=blank.device)  # of each pixel
    for side in size:
        cell = cell[..., None] * cells + torch.arange(side, device=blank.device) * cells // side

    def measure(asked: Callable[[Tensor], Tensor], k: int) -> Measure:
        def of(muted: Tensor) -> Tensor:
            parts = ask.parts(muted.shape[1])
            shown = (torch.where(muted[:, part][..., cell].unsqueeze(2), blank, ask.image[:, None]) for part in parts)
            return torch.cat([asked(images)[..., k] for images in shown], 1)

        return of

    own = ask.confidence(ask.image[:, None])[:, 0]
    found = [
        _missed(measure(ask.confidence, k), measure(ask.of_images, k), own[:, k], cells ** len(size), until)
        for k in range(own.shape[1])
    ]
    return (
        torch.stack(found, 1).view(*own.shape, *[cells] * len(size)).to(torch.promote_types(ask.image.dtype, own.dtype))
    )


def _missed(confidence: Measure, score: Measure, own: Tensor, cells: int, until: float) -> Tensor:
    """For each cell (N, cells) of each image's set, how much it is missed; 0 outside the set."""
    walks = [_grown(measure, confidence, own, cells, until) for measure in (confidence, score)]
    goal = torch.maximum(until * own, torch.cat([path for _, path in walks], 1).amin(1))
    missed, sizes = [], []
    for order, path in walks:
        there = path <= goal[:, None]
        taken = torch.arange(order.shape[1], device=own.device) < there.int().argmax(1)[:, None]  # the shortest way
        muted = torch.zeros(len(own), cells, dtype=torch.bool, device=own.device).scatter(1, order, taken)
        missed.append(_pruned(confidence, muted, goal))
        sizes.append(missed[-1].count_nonzero(1).where(there.any(1), cells + 1))
    smaller = torch.where((sizes[1] < sizes[0])[:, None], missed[1], missed[0])
    return smaller / torch.where(own > 0, own, 1)[:, None]


def _grown(measure: Measure, confidence: Measure, own: Tensor, cells: int, until: float) -> tuple[Tensor, Tensor]:
    """Which cell each round muted (N, rounds), and the confidence before the first and after each (N, rounds + 1).

    Each round mutes the cell that lowers `measure` most. Images that have reached their goal go on
    with the others, to no effect.
    """
    muted = torch.zeros(len(own), cells, dtype=torch.bool, device=own.device)
    order = own.new_zeros(len(own), 0, dtype=torch.long)
    path = own[:, None]
    while (path.amin(1) > until * own).any() and order.shape[1] < cells:
        left = (~muted).nonzero()[:, 1].view(len(own), -1)
        lowest = measure(muted[:, None] | one_hot(left, cells).bool()).argmin(1, keepdim=True)
        order = torch.cat([order, left.gather(1, lowest)], 1)
        muted = muted.scatter(1, order[:, -1:], True)
        path = torch.cat([path, confidence(muted[:, None])], 1)
    return order, path


def _pruned(confidence: Measure, muted: Tensor, goal: Tensor) -> Tensor:
    """By how much confidence rises when a cell (N, cells) of a set is shown again, once no cell can be spared."""
    while muted.any():
        size = int(muted.sum(1).max())
        members = muted.int().argsort(dim=1, descending=True, stable=True)[:, :size]  # and others, in smaller sets
        inside = muted.gather(1, members)
        shown = confidence(muted[:, None] & ~one_hot(members, muted.shape[1]).bool()).where(inside, torch.inf)
        least, at = shown.min(1, keepdim=True)
        spare = least <= goal[:, None]
        if not spare.any():
            rise = (shown - confidence(muted[:, None])).where(inside, 0)
            return rise.new_zeros(muted.shape).scatter(1, members, rise)
        muted = muted.scatter(1, members.gather(1, at), muted.gather(1, members.gather(1, at)) & ~spare)
    return goal.new_zeros(muted.shape)
