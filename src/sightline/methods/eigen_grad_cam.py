"""Eigen-Grad-CAM: the direction in which gradient times activation is strongest, so that the class matters.

Eigen-CAM (Muhammad and Yeasin, IJCNN 2020, arXiv 2008.00299) of gradient times activation, as
introduced by pytorch-grad-cam; there is no paper of its own. As in Eigen-CAM nothing is centred,
where pytorch-grad-cam takes off each channel's mean and leaves the sign to LAPACK. The sign here
is the one of the sum over channels (HiResCAM): Eigen-CAM's, where no product is negative, and
otherwise one that tells evidence against from evidence for, which a positive sum wouldn't.
"""

import torch

from sightline.types import Activations, Gradients, Maps


def eigen_grad_cam(activations: Activations, gradients: Gradients) -> Maps:
    """(g A) v, signed, with v (C,) the first right singular vector of g A as a matrix (h w, C), and sum v >= 0."""
    products = gradients * activations
    left, strengths, right = torch.linalg.svd(products.flatten(-2).transpose(-1, -2), full_matrices=False)
    first = left[..., 0] * strengths[..., :1]
    first = torch.where(right[..., 0, :].sum(-1, keepdim=True) < 0, -first, first)
    return first.view(*first.shape[:-1], *products.shape[-2:])
