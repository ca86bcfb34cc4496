"""Occlusion: cover the image with a window, place by place, and see what the score loses.

Zeiler and Fergus, *Visualizing and Understanding Convolutional Networks*, ECCV 2014, arXiv
1311.2901, section 4.2, who slide a grey square and draw what is left of the class's probability at
each place. Here it is what the score (a logit) loses, each pixel the mean over the windows that
cover it, as captum has it; the last window of a row or column is cut off at the border.
"""

import math

import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.types import Images, Maps, Questions

BLUR = 0.09
"""Sigma of the blurred image, as a share of the shorter side: 20 pixels of 224."""


def occlusion(ask: Questions, *, window: int = 32, stride: int = 8, fill: str = "zero") -> Maps:
    """The score less that with a window covered, each pixel the mean over the windows on it; signed.

    The window of `window` x `window` pixels moves by `stride`; `fill` is what it shows, see `background`.
    """
    height, width = ask.image.shape[-2:]
    if not 1 <= stride <= window <= min(height, width):
        raise MethodError(
            f"occlusion takes a stride of 1 pixel or more, a window no smaller than that, and an image no smaller than "
            f"the window; got stride={stride}, window={window} and {height} x {width} pixels; "
            "set both to fit, as in occlusion:window=8:stride=4"
        )
    places = [(y, x) for y in starts(height, window, stride) for x in starts(width, window, stride)]
    blank = background(ask.image, fill)
    wide = torch.promote_types(ask.image.dtype, torch.float32)
    total = ask.image.new_zeros(*ask.scores.shape, height, width, dtype=wide)
    windows = total.new_zeros(height, width)
    for part in ask.parts(len(places)):
        covered = torch.zeros(part.stop - part.start, 1, height, width, dtype=torch.bool, device=ask.image.device)
        for mask, (y, x) in zip(covered, places[part], strict=True):
            mask[:, y : y + window, x : x + window] = True
        scores = ask.of_images(torch.where(covered, blank[:, None], ask.image[:, None]))
        for at, (y, x) in enumerate(places[part]):
            total[..., y : y + window, x : x + window] += (ask.scores - scores[:, at])[..., None, None]
            windows[y : y + window, x : x + window] += 1
    return total / windows


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
        return image.mean((-2, -1), keepdim=True).expand_as(image)
    if fill == "blur":
        return blurred(image, BLUR)
    raise MethodError(f"images are covered with fill='zero', 'mean' or 'blur', not {fill!r}")


def blurred(planes: Tensor, share: float) -> Tensor:
    """Planes (..., h, w) after a Gaussian whose sigma is a share of the shorter side; nothing counts outside."""
    rows, columns = (_gaussian(side, share * min(planes.shape[-2:])).to(planes) for side in planes.shape[-2:])
    return rows @ planes @ columns.T


def _gaussian(side: int, sigma: float) -> Tensor:
    """(side, side): what each pixel of a line takes of the others; rows sum to 1."""
    at = torch.arange(side, dtype=torch.float64)
    return (-((at - at[:, None]) ** 2) / (2 * sigma**2)).softmax(1)
