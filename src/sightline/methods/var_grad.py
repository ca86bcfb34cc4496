"""VarGrad: where the gradient changes most when noise is added to the image.

Adebayo et al., *Local Explanation Methods for Deep Neural Networks Lack Sensitivity to Parameter
Values*, ICLR workshop 2018, arXiv 1810.03307, and *Sanity Checks for Saliency Maps*, NeurIPS
2018, arXiv 1810.03292: the variance over noise of an explanation, here of the signed gradient. The
variance is the population's (over `samples`, not one less) and the map its largest over channels,
which the papers leave open. Noise is that of SmoothGrad.
"""

import torch

from sightline.errors import MethodError
from sightline.methods.smooth_grad import noisy
from sightline.types import Maps, Questions


def var_grad(ask: Questions, *, generator: torch.Generator, samples: int = 25, noise: float = 0.15) -> Maps:
    """max_c var_s g_c(x + e_s), pixel by pixel."""
    if samples < 2:
        raise MethodError(f"var-grad needs two samples to see a change, got samples={samples}")
    mean, squares = torch.zeros(()), torch.zeros(())
    for count, image in enumerate(noisy(ask, generator, samples, noise), 1):
        gradients = ask.at_image(image)
        before = gradients - mean.to(gradients)
        mean = mean.to(gradients) + before / count  # Welford: a mean square less a squared mean would cancel
        squares = squares.to(gradients) + before * (gradients - mean)
    return (squares / samples).amax(2)
