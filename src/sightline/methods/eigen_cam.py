"""Eigen-CAM: the direction in which the activations are strongest, whatever the class.

Muhammad and Yeasin, *Eigen-CAM: Class Activation Map using Principal Components*, IJCNN 2020,
arXiv 2008.00299, eqs. 2 to 4. As in the paper the activations are not centred; the sign, which a
singular vector leaves open, is the one that makes the map's sum positive.
"""

import torch

from sightline.types import Activations, Maps


def eigen_cam(activations: Activations) -> Maps:
    """A v, signed, with v (C,) the first right singular vector of the activations A as a matrix (h w, C)."""
    cells = activations.flatten(-2).transpose(-1, -2)
    left, strengths, _ = torch.linalg.svd(cells, full_matrices=False)
    first = left[..., 0] * strengths[..., :1]
    first = torch.where(first.sum(-1, keepdim=True) < 0, -first, first)
    return first.view(*first.shape[:-1], *activations.shape[-2:])
