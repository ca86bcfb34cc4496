"""RISE: the image seen through random masks, which are averaged by the confidence that each leaves.

Petsiuk, Das and Saenko, *RISE: Randomized Input Sampling for Explanation of Black-box Models*, BMVC
2018, arXiv 1806.07421, with masks made as in the authors' code: a coarse grid of cells, each on with
probability `keep`, is stretched bilinearly to a cell more than the image, and cropped at random. (At
its border their stretching mirrors the cells, ours repeats them.) They take 4000 masks or 8000;
1000 are drawn here unless told.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.methods.grids import described, resized
from sightline.types import Maps, Questions


def rise(ask: Questions, *, generator: torch.Generator, masks: int = 1000, cells: int = 7, keep: float = 0.5) -> Maps:
    """sum_i conf(M_i o X) M_i / (masks * keep), M_i in 0..1; 0 after normalisation is what a mask hides behind.

    A map of an even confidence c is near c everywhere: what counts are differences.
    """
    size = ask.image.shape[2:]
    if masks < 1 or not 1 <= cells <= min(size) or not 0 < keep <= 1:
        raise MethodError(
            f"rise takes 1 mask or more, 1 cell per side or more, up to one per pixel, and a share above 0, up to 1; "
            f"got masks={masks}, cells={cells}, keep={keep} and {described(size)}; "
            "leave them out for 1000, 7 and 0.5"
        )
    wide = torch.promote_types(ask.image.dtype, torch.float32)
    total = ask.image.new_zeros(*ask.scores.shape, *size, dtype=wide)
    for part in ask.parts(masks):
        # one mask at a time: what is drawn doesn't depend on how large a part is
        drawn = [drawn_mask(size, cells, keep, generator) for _ in range(part.start, part.stop)]
        seen = torch.stack(drawn).to(total)
        confidence = ask.confidence(ask.image[:, None] * seen[:, None].to(ask.image))
        total += torch.einsum("nmk,m...->nk...", confidence.to(total), seen)
    return total / (masks * keep)


def drawn_mask(size: Sequence[int], cells: int, keep: float, generator: torch.Generator) -> Tensor:
    """A mask (height, width), or of any rank, from 0 to 1, whose mean over all draws is `keep` at every pixel."""
    steps = [math.ceil(side / cells) for side in size]
    grid = (torch.rand(1, 1, *[cells] * len(size), generator=generator) < keep).float()
    large = resized(grid, [(cells + 1) * step for step in steps])[0, 0]
    starts = [int(torch.randint(step, (), generator=generator)) for step in steps]
    return large[tuple(slice(start, start + side) for start, side in zip(starts, size, strict=True))]
