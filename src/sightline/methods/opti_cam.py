"""Opti-CAM: the mix of channels whose mask, laid over the image, scores best.

Zhang et al., *Opti-CAM: Optimizing saliency maps for interpretability*, Computer Vision and Image
Understanding 2024, arXiv 2301.07002. The channels' negative parts are cut first, and Adam goes up
the plain score at a rate of 0.1 from equal weights, as in the authors' code, whose early stop is
left out. The map is the mix itself at the layer's resolution, before the mask's normalisation.
"""

import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.methods.score_cam import masks
from sightline.types import Images, Maps, Questions


def opti_cam(ask: Questions, *, steps: int = 50, rate: float = 0.1) -> Maps:
    """sum_k softmax(u)_k relu(A_k), u from `steps` of Adam up f(M o X), M the mix upsampled, between 0 and 1.

    An even mix has no M (0/0): it lets nothing through.
    """
    if steps < 0 or rate <= 0:
        raise MethodError(
            f"opti-cam takes steps of a rate above 0, got steps={steps}, rate={rate}; leave them out for 50 and 0.1"
        )
    features = ask.activations()[:, 0].relu()

    def mixed(u: Tensor) -> Maps:
        return torch.einsum("n...c,nchw->n...hw", u.softmax(-1), features)

    def seen_through(u: Tensor) -> Images:
        return ask.image * masks(mixed(u)[:, None], ask.grid, ask.image)

    start = features.new_zeros(len(features), ask.scores.shape[1], features.shape[1])
    return mixed(ask.climb(start, seen_through, lambda scores, _: -scores, steps=steps, rate=rate))
