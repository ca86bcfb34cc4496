"""Shapley-CAM: Grad-CAM whose gradient is corrected by half the score's curvature.

Cai, *CAMs as Shapley Value-based Explainers*, 2025, arXiv 2501.06261: channels as
players of a game, the score expanded to second order around what they are. On a head of ReLUs and
linear layers the curvature is 0 and this is Grad-CAM. The paper's own score (ReST, a logit plus its
log-probability) is a target rather than a part of the method, and isn't used unless asked about.
"""

import torch

from sightline.types import Maps, Questions


def shapley_cam(ask: Questions) -> Maps:
    """relu(sum_c w_c A_c), w_c = mean_xy (g - H A / 2)_c, H the score's Hessian at the layer."""
    activations, gradients, curved = ask.curvature()
    weights = (gradients - curved / 2).mean((-2, -1))
    return torch.einsum("...c,...chw->...hw", weights, activations).relu()
