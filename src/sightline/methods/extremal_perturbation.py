"""Extremal perturbation: the part of a given size that, shown alone, keeps the score highest.

Fong, Patrick and Vedaldi, *Understanding Deep Networks via Extremal Perturbations and Smooth
Masks*, ICCV 2019, arXiv 1910.08485: the preservation game against a blurred background, with smooth
masks and a penalty on the sorted mask, once for each size. As in the authors' code (TorchRay), f is
the plain score, and a cell reaches others by exp(-2 max(0, d - 1/2)^2), d in units of 21 of 224
pixels (20 here).

What is simpler here: masks are smoothed on the grid, each cell against every other, and stretched
bilinearly (there per pixel, against the cells nearby, with a margin); they mix the image with one
blurred version (there with seven); cells are logistic functions of what Adam moves (there clipped,
moved by gradient descent, and every other image is mirrored). They begin in the order of the
score's gradient (there as equals, among which the sorted mask's penalty chooses by accident). The
score is divided by the difference that the blur makes, so that the penalty's weights have a scale.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from sightline.errors import MethodError
from sightline.methods.occlusion import BLUR, background, blurred
from sightline.types import Images, Maps, Questions

COLDNESS = 20.0
"""Of the smooth maximum."""
WEIGHTS = (2.0, 8.0, 32.0, 128.0)
"""Of the penalty, in stages of equal length."""


def extremal_perturbation(
    ask: Questions,
    *,
    areas: Sequence[float] = (0.05, 0.1, 0.2, 0.4),
    steps: int = 100,
    cells: int = 28,
    rate: float = 0.3,
    smooth: float = 0.0,
) -> Maps:
    """The sum of a mask M in 0..1 for each area, on a grid of `cells` per side (of the pixels, where these are fewer).

    M comes of `steps` of Adam down weight * off_area(M) - f(M X + (1 - M) B) / |f(X) - f(B)|, B the blurred
    image. Where f(X) = f(B) nothing needs to be shown, and the map is 0. `smooth` blurs the map by a
    Gaussian of that share of its shorter side (0.09 where TorchRay plays the pointing game).
    """
    if not isinstance(areas, list | tuple) or not areas or not all(0 < area < 1 for area in areas):
        raise MethodError(
            f"extremal-perturbation takes areas between 0 and 1, as in areas=(0.1,0.2); got areas={areas!r}"
        )
    if steps < 1 or cells < 1 or rate <= 0 or smooth < 0:
        raise MethodError(
            f"extremal-perturbation takes 1 step or more of a rate above 0, 1 cell per side or more, and 0 or more of "
            f"smoothing; got steps={steps}, rate={rate}, cells={cells}, smooth={smooth}; leave them out for "
            "100, 0.3, 28 and 0"
        )
    image, blur = ask.image, background(ask.image, "blur")
    pixels = image.shape[-2:]
    size = (min(cells, pixels[0]), min(cells, pixels[1]))
    wide = torch.promote_types(image.dtype, torch.float32)
    near = nearness(size, pixels).to(image.device, wide)
    gap = (ask.scores - ask.of_images(blur[:, None])[:, 0]).abs().to(wide)[..., None]
    # The gap travels as a last variable, which Adam leaves as it is: no gradient reaches it.
    start = torch.cat([_worth(ask, blur, size).to(wide), gap.where(gap > 0, 1)], -1)

    def mask(variables: Tensor) -> Maps:
        return smooth_maximum(variables[..., :-1].sigmoid(), near).view(*variables.shape[:-1], *size)

    def shown(variables: Tensor) -> Images:
        large = interpolate(mask(variables)[:, None], pixels, mode="bilinear", align_corners=False)
        return (large * image + (1 - large) * blur).to(image)

    def loss_of(area: float, weight: float) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda scores, variables: weight * off_area(mask(variables), area) - scores / variables[..., -1].detach()

    masks = []
    for area in areas:
        found, taken = start, 0
        for stage, weight in enumerate(WEIGHTS, 1):
            until = steps * stage // len(WEIGHTS)
            found = ask.climb(found, shown, loss_of(area, weight), steps=until - taken, rate=rate)
            taken = until
        masks.append(mask(found))
    maps = torch.stack(masks).sum(0).where(gap[..., None] > 0, 0)
    return blurred(maps, smooth) if smooth > 0 else maps


def _worth(ask: Questions, blur: Images, size: tuple[int, int]) -> Tensor:
    """What each cell of an even mask of 1/2 gains the score, to first order, (N, K, cells); the largest is 1 or -1."""
    gained = (ask.at_image((ask.image + blur) / 2) * (ask.image - blur)[:, None]).sum(2)
    worth = adaptive_avg_pool2d(gained, size).flatten(2)
    most = worth.abs().amax(2, keepdim=True)
    return worth / most.where(most > 0, 1)


def nearness(cells: Sequence[int], pixels: Sequence[int]) -> Tensor:
    """How far each cell of a grid (h, w) over an image (H, W) reaches to each other, (h * w, h * w) from 0 to 1."""
    rows, columns = (
        (torch.arange(count, dtype=torch.float64) + 0.5) * side / count
        for count, side in zip(cells, pixels, strict=True)
    )
    centres = torch.cartesian_prod(rows, columns)
    away = (centres[:, None] - centres).norm(dim=-1) / (BLUR * min(pixels))
    reach: Tensor = (-2 * (away - 0.5).relu().square()).exp()
    return reach


def smooth_maximum(values: Tensor, near: Tensor) -> Tensor:
    """For each cell, over the cells, the mean of value times nearness with weights exp(20 times the same)."""
    reached = values[..., None, :] * near
    return (reached * (COLDNESS * reached).softmax(-1)).sum(-1)


def off_area(masks: Maps, area: float) -> Tensor:
    """How far masks (..., h, w) are from 1 on that share of their cells and 0 on the rest: mean squared, sorted."""
    cells = masks.flatten(-2).sort(-1).values
    ones = torch.arange(cells.shape[-1], device=cells.device) >= (1 - area) * cells.shape[-1]
    return (cells - ones.to(cells)).square().mean(-1)
