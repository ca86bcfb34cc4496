"""Occlusion: cover the image with a window, place by place, and see what the score loses.

Zeiler and Fergus, *Visualizing and Understanding Convolutional Networks*, ECCV 2014, arXiv
1311.2901, section 4.2, who slide a grey square and draw what is left of the class's probability at
each place. Here it is what the score (a logit) loses, each pixel the mean over the windows that
cover it, as captum has it; the last window of a row or column is cut off at the border.
"""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.methods.grids import described, of_each, positions
from sightline.types import Images, Maps, Questions

BLUR = 0.09
"""Sigma of the blurred image, as a share of the shorter side: 20 pixels of 224."""


def occlusion(
    ask: Questions, *, window: int | Sequence[int] = 32, stride: int | Sequence[int] = 8, fill: str = "zero"
) -> Maps:
    """The score less that with a window covered, each pixel the mean over the windows on it; signed.

    The window of `window` x `window` pixels moves by `stride`, each one number, or one for each direction, as
    `window=(4,32,32)` for a clip; `fill` is what it shows, see `background`.
    """
    size = ask.image.shape[2:]
    windows, strides = of_each(window, size, "window"), of_each(stride, size, "stride")
    if not all(1 <= step <= wide <= side for step, wide, side in zip(strides, windows, size, strict=True)):
        raise MethodError(
            f"occlusion takes a stride of 1 pixel or more, a window no smaller than that, and an image no smaller than "
            f"the window; got stride={stride}, window={window} and {described(size)}; "
            "set both to fit, as in occlusion:window=8:stride=4"
        )
    places: list[tuple[Any, ...]] = [
        (..., *(slice(start, start + wide) for start, wide in zip(place, windows, strict=True)))
        for place in product(*map(starts, size, windows, strides))
    ]
    blank = background(ask.image, fill)
    total = ask.image.new_zeros(*ask.scores.shape, *size, dtype=torch.promote_types(ask.image.dtype, torch.float32))
    covers = total.new_zeros(size)
    for part in ask.parts(len(places)):
        covered = torch.zeros(part.stop - part.start, 1, *size, dtype=torch.bool, device=ask.image.device)
        for mask, place in zip(covered, places[part], strict=True):
            mask[place] = True
        scores = ask.of_images(torch.where(covered, blank[:, None], ask.image[:, None]))
        for at, place in enumerate(places[part]):
            total[place] += (ask.scores - scores[:, at]).view(*ask.scores.shape, *[1] * len(size))
            covers[place] += 1
    return total / covers


def starts(side: int, window: int, stride: int) -> list[int]:
    """Where windows begin that cover a side: every `stride` pixels, until one reaches the end."""
    return [stride * at for at in range(math.ceil((side - window) / stride) + 1)]


def background(image: Images, fill: str) -> Images:
    """What is seen where an image is covered: `zero`, `mean` (each image's mean colour) or `blur` (each, blurred).

    Zero after normalisation is the mean colour of what the model was trained on, for most models.
    """
    if fill == "zero":
        return torch.zeros_like(image)
    if fill == "mean":
        return image.mean(positions(image), keepdim=True).expand_as(image)
    if fill == "blur":
        return blurred(image, BLUR, image.ndim - 2)
    raise MethodError(f"images are covered with fill='zero', 'mean' or 'blur', not {fill!r}")


def blurred(planes: Tensor, share: float, rank: int = 2) -> Tensor:
    """Planes (..., h, w), or of another rank, after a Gaussian whose sigma is a share of the shortest side.

    Nothing counts outside.
    """
    sides = planes.shape[-rank:]
    for axis, side in enumerate(sides, -rank):
        taken = _gaussian(side, share * min(sides)).to(planes)
        planes = (planes.movedim(axis, -1) @ taken.T).movedim(-1, axis)
    return planes


def _gaussian(side: int, sigma: float) -> Tensor:
    """(side, side): what each pixel of a line takes of the others; rows sum to 1."""
    at = torch.arange(side, dtype=torch.float64)
    return (-((at - at[:, None]) ** 2) / (2 * sigma**2)).softmax(1)
