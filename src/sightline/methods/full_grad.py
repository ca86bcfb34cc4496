"""FullGrad: input x gradient and every bias x gradient, which together are the whole score.

Srinivas and Fleuret, *Full-Gradient Representation for Neural Network Visualization*, NeurIPS
2019, arXiv 1905.00780. For a net that is piecewise linear, batch norms in eval mode included, the
score is exactly the sum of these terms; where it isn't (a tanh, a softmax, a ReLU6 above 6) a part
of the score would be missing from the map, and the method is refused. As in the authors' code each
layer's terms are made absolute, rescaled to 0..1 over all of its channels and positions, and summed
after bilinear upsampling; layers without positions count towards the score only. Their code aligns
corners when upsampling and adds 1e-6 below the fraction, this neither: an even layer has nothing to
rescale, and counts nothing. pytorch-grad-cam rescales each channel alone, the weakest as the strongest.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.methods.grids import resized
from sightline.types import Maps, Questions, Scores


def full_grad(ask: Questions) -> Maps:
    """sum_l up(sum_c rescale|f_lc|), with f_0 = x g in the image and f_l = b g at the layers with biases b."""
    gradients, of_layers = ask.biases()
    of_pixels = ask.image[:, None] * gradients
    _check_complete(ask.scores, [of_pixels, *of_layers])
    maps = _rescaled(of_pixels)
    for term in of_layers:
        if term.ndim == of_pixels.ndim:
            maps = maps + resized(_rescaled(term), maps.shape[2:])
    return maps


def _rescaled(terms: Tensor) -> Maps:
    """Terms (N, K, C, h, w), absolute, from 0 to 1 over each C x h x w, and summed over channels."""
    size = terms.abs()
    whole = tuple(range(2, size.ndim))
    above = size - size.amin(whole, keepdim=True)
    most = above.amax(whole, keepdim=True)
    return (above / most).where(most != 0, 0.0).sum(2)


def _check_complete(scores: Scores, terms: Sequence[Tensor]) -> None:
    """Refuse a score that isn't the sum of its terms, but for what rounding explains."""
    flat = [term.flatten(2) for term in terms]
    total = torch.stack([term.sum(2) for term in flat]).sum(0)
    size = torch.stack([term.abs().sum(2) for term in flat]).sum(0)
    allowed = 1e-4 * scores.abs() + 200 * torch.finfo(scores.dtype).eps * size
    miss = (total - scores).abs()
    if not (miss <= allowed).all():
        n, k = divmod(int((miss - allowed).argmax()), miss.shape[1])
        raise MethodError(
            f"full-grad needs a score that is input x gradient plus bias x gradient, and for image {n}, target {k} "
            f"these sum to {total[n, k]:.6g} while the score is {scores[n, k]:.6g}: something between image and score "
            "isn't piecewise linear, or adds a constant; use integrated-gradients, which minds neither"
        )
