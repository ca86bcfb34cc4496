"""Smooth Grad-CAM++: Grad-CAM++ whose derivatives are averaged over noise added to the image.

Omeiza et al., *Smooth Grad-CAM++: An Enhanced Inference Level Visualization Technique for Deep
Convolutional Neural Network Models*, 2019, arXiv 1908.01224. First the derivatives of each order
are averaged over the noisy images, and then combined as in Grad-CAM++; the average of Grad-CAM++
maps is another method (`over_noise`). As in Grad-CAM++ the derivatives of order two and three are
powers of one gradient. The map is that of the image itself, whose activations it weights. The
paper's text wasn't at hand: by torch-cam's account its alpha has the first derivative above the
fraction, which isn't homogeneous in the score, and the second, as in Grad-CAM++ and here, is meant.
Noise is that of SmoothGrad.
"""

import torch

from sightline.methods.smooth_grad import noisy
from sightline.types import Maps, Questions


def smooth_grad_cam_plus_plus(
    ask: Questions, *, generator: torch.Generator, samples: int = 25, noise: float = 0.15
) -> Maps:
    """relu(sum_c w_c A_c), w_c = sum_xy alpha relu(m1), alpha = m2 / (2 m2 + m3 sum_xy A), m_p = mean_s g(x + e_s)^p.

    alpha is 0 at its pole. Where m2 is 0 every g is, and relu(m1) with them.
    """
    activations = ask.activations()
    scale = None
    first = second = third = torch.zeros(())
    for image in noisy(ask, generator, samples, noise):
        _, gradients = ask.at_layer(image)
        if scale is None:  # gradients are measured in their own size, so that no power underflows
            largest = gradients.abs().amax((-3, -2, -1), keepdim=True)
            scale = torch.where(largest > 0, largest, 1.0)
        gradients = gradients / scale
        first, second, third = (
            mean.to(gradients) + gradients**power / samples for power, mean in enumerate((first, second, third), 1)
        )
    assert scale is not None
    below = 2 * second + third * scale * activations.sum((-2, -1), keepdim=True)
    alpha = (second / below).where(below != 0, 0.0)
    weights = (alpha * first.relu() * scale).sum((-2, -1))
    return torch.einsum("...c,...chw->...hw", weights, activations).relu()
