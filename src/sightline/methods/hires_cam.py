"""HiResCAM: gradient times activation, cell by cell, so that only what the model used can light up.

Draelos and Carin, *Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional
neural networks*, arXiv 2011.08891, eq. 3. Kept signed: over a head with one linear layer the map
sums to the logit less its bias; take its positive part for the paper's picture.
"""

import torch

from sightline.types import Activations, Gradients, Maps


def hires_cam(activations: Activations, gradients: Gradients) -> Maps:
    """sum_c g_c A_c, cell by cell, signed."""
    return torch.einsum("...chw,...chw->...hw", gradients, activations)
