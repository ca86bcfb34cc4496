"""Grad-CAM: weight each channel by the mean of its gradient, and keep what speaks for the score.

Selvaraju et al., *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization*, ICCV 2017, arXiv 1610.02391, eqs. 1 and 2. The authors' code sums the gradient
where the paper averages it; this follows the paper.
"""

import torch

from sightline.types import Activations, Gradients, Maps


def grad_cam(activations: Activations, gradients: Gradients) -> Maps:
    """relu(sum_c w_c A_c), w_c = mean_xy g_c."""
    return torch.einsum("...c,...chw->...hw", gradients.mean((-2, -1)), activations).relu()
