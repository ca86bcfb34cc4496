"""SmoothGrad: the gradient averaged over noise added to the image, which drowns what is local to one point.

Smilkov et al., *SmoothGrad: removing noise by adding noise*, 2017, arXiv 1706.03825. The noise's
standard deviation is a share of the image's range (max - min), as in the paper; both are those of
the normalised image. The gradients are averaged with their sign and made a map as saliency is, by
the largest absolute value over channels; the paper leaves both open and discusses the sign. The
images of a batch share their noise up to its scale, so that each gives what it gives alone.
"""

from collections.abc import Iterator
from functools import reduce

import torch

from sightline.errors import MethodError
from sightline.types import Images, Maps, Questions


def smooth_grad(ask: Questions, *, generator: torch.Generator, samples: int = 25, noise: float = 0.15) -> Maps:
    """max_c |mean_s g_c(x + e_s)|, pixel by pixel."""
    total = reduce(torch.add, (ask.at_image(image) for image in noisy(ask, generator, samples, noise)))
    return (total / samples).abs().amax(2)


def noisy(ask: Questions, generator: torch.Generator, samples: int, noise: float) -> Iterator[Images]:
    """The images asked about with Gaussian noise of `noise` times each image's own range, one sample after another."""
    if samples < 1 or not noise >= 0:
        raise MethodError(
            f"noise is drawn at least once and of a spread of 0 or more, got samples={samples}, noise={noise}"
        )
    image = ask.image
    axes = tuple(range(1, image.ndim))
    spread = noise * (image.amax(axes, keepdim=True) - image.amin(axes, keepdim=True))
    for _ in ask.told(range(samples), samples):
        # Drawn on the CPU in float32 and for one image: the same for every device, dtype and batch.
        yield image + spread * torch.randn(image.shape[1:], generator=generator).to(image)
