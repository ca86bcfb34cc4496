"""Integrated gradients: input x gradient, with the gradient averaged on the way from a blank image.

Sundararajan, Taly and Yan, *Axiomatic Attribution for Deep Networks*, ICML 2017, arXiv
1703.01365, eq. 1. The path integral is taken by Gauss-Legendre quadrature, where the paper sums
at equal steps (its eq. 3): as good where the score is piecewise linear, and exact to rounding
with few steps where it is smooth. By the paper's axiom of completeness the map sums to the score
less the blank image's; where quadrature misses that, the method warns and says by how much. The
blank image of `zero` is zeros after normalisation, which is grey for most models; that of `mean`
is the image's own mean colour.
"""

import warnings

import torch
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from sightline.errors import MethodError
from sightline.methods.grids import positions
from sightline.types import Images, Maps, Questions

TOLERANCE = 0.05
"""How far a map's sum may be off the score's difference, as a share of the larger of the two scores."""


class CompletenessWarning(UserWarning):
    """A map of integrated gradients doesn't sum to the score's difference."""


def integrated_gradients(ask: Questions, *, steps: int = 50, baseline: str = "zero") -> Maps:
    """sum_c (x_c - b_c) int_0^1 g_c(b + t (x - b)) dt, pixel by pixel, signed; b is the blank image.

    Warns with CompletenessWarning where `incompleteness` is above TOLERANCE; more steps help.
    """
    if steps < 1:
        raise MethodError(f"integrated-gradients takes at least one step, got steps={steps}")
    blank = blank_image(ask.image, baseline)
    way = ask.image - blank
    total: Tensor | float = 0.0
    for place, weight in ask.told(zip(*leggauss(steps), strict=True), steps):  # on -1..1
        total = total + float(weight) / 2 * ask.at_image(blank + float(place + 1) / 2 * way)
    maps: Maps = (way[:, None] * total).sum(2)
    ends = ask.scores, ask.of_images(blank[:, None])[:, 0]
    off = incompleteness(maps, *ends)
    if (off > TOLERANCE).any():
        n, k = divmod(int(off.argmax()), off.shape[1])
        warnings.warn(
            f"the integrated gradients of image {n}, target {k} sum to {maps[n, k].sum():.4g}, and the score goes from "
            f"{ends[1][n, k]:.4g} to {ends[0][n, k]:.4g}: off by {off[n, k]:.0%}; take more than steps={steps}",
            CompletenessWarning,
            stacklevel=2,
        )
    return maps


def incompleteness(maps: Maps, scores: Tensor, blank: Tensor) -> Tensor:
    """How far maps (..., h, w) are from summing to `scores` less `blank` (...), as a share of the larger of these.

    `blank` are the scores of the blank image. Where both scores are 0: 0 if the map sums to 0, else infinite.
    """
    miss = (maps.flatten(scores.ndim).sum(-1) - (scores - blank)).abs()
    return (miss / torch.maximum(scores.abs(), blank.abs())).where(miss != 0, 0.0)


def blank_image(image: Images, baseline: str) -> Images:
    """The image from which the path starts: `zero`, or `mean`, the mean colour of each image."""
    if baseline == "zero":
        return torch.zeros_like(image)
    if baseline == "mean":
        return image.mean(positions(image), keepdim=True).expand_as(image)
    raise MethodError(f"integrated-gradients starts from the baseline 'zero' or 'mean', not {baseline!r}")
