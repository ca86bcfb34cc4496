"""Guided Grad-CAM: guided backpropagation's detail where Grad-CAM says that the class is.

Selvaraju et al., *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization*, ICCV 2017, arXiv 1610.02391, section 3.2: the pointwise product of guided
backpropagation with the Grad-CAM map upsampled bilinearly (cells tile the image evenly, as in
`align_corners=False`). The map is the largest absolute value over channels, where the paper shows
the product of each channel.
"""

from sightline.methods.grad_cam import grad_cam
from sightline.methods.grids import resized
from sightline.methods.guided_backprop import guided_backprop
from sightline.types import Maps, Questions


def guided_grad_cam(ask: Questions) -> Maps:
    """max_c |g_c| L, pixel by pixel: g propagated by the guided rule, L the upsampled Grad-CAM map."""
    coarse = grad_cam(*ask.at_layer())
    fine = guided_backprop(ask)
    return fine * resized(coarse.reshape(*coarse.shape[:2], *ask.grid), fine.shape[2:])
