"""Grad-CAM++: weight each channel by its positive gradients, cell by cell.

Chattopadhay et al., *Grad-CAM++: Improved Visual Explanations for Deep Convolutional Networks*,
WACV 2018, arXiv 1710.11063, eq. 19. The paper explains exp(score), whose derivatives of every
order are powers of one gradient, so one backward pass is enough; the common factor exp(score),
which scales the whole map, is left out.
"""

import torch

from sightline.types import Activations, Gradients, Maps


def grad_cam_plus_plus(activations: Activations, gradients: Gradients) -> Maps:
    """relu(sum_c w_c A_c), w_c = sum_xy alpha relu(g), alpha = 1 / (2 + g sum_xy A).

    Eq. 19's g^2 / (2 g^2 + g^3 sum_xy A), shortened; alpha is 0 at its pole g sum_xy A = -2.
    Where g is 0 and eq. 19 reads 0/0, relu(g) is 0 as well.
    """
    below = 2 + gradients * activations.sum((-2, -1), keepdim=True)
    alpha = (1 / below).where(below != 0, 0.0)
    weights = (alpha * gradients.relu()).sum((-2, -1))
    return torch.einsum("...c,...chw->...hw", weights, activations).relu()
