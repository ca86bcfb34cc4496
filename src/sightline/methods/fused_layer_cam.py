"""Fused LayerCAM: LayerCAM at every resolution, the early ones made louder, and the largest of them taken.

Jiang et al., *LayerCAM: Exploring Hierarchical Class Activation Maps for Localization*, IEEE
Transactions on Image Processing 2021, doi 10.1109/TIP.2021.3089943, section on fusion. The maps of
shallow layers are scaled by tanh(gamma L / max L), and all are fused by their elementwise maximum,
as the first author says in torch-cam's issue 76. The paper itself wasn't at hand: the formula with
gamma = 2 is what torch-cam gives as its eq. 9, for the maps of all layers, and so is the upsampling
to the finest map. As we remember it, the paper scales the first three of VGG16's five stages, so all
but the two last resolutions are scaled here. The others are divided by their maximum, so that all
are between 0 and 1; a map of zeros stays one.
"""

from functools import reduce

import torch

from sightline.errors import MethodError
from sightline.methods.compose import at_layers, by_largest, together
from sightline.methods.layer_cam import layer_cam
from sightline.types import Maps, Method, Questions

_LAYER_CAM = Method("layer-cam", layer_cam, "doi 10.1109/TIP.2021.3089943", "cell by cell, sharp in early layers")
_DEEP = 2  # how many resolutions, counted from the last, are taken as they are


def fused_layer_cam(ask: Questions, *, gamma: float = 2.0) -> Maps:
    """max_l up(M_l), with M_l = L_l / max L_l, and tanh(gamma M_l) for all but the two last resolutions."""
    if not gamma > 0:
        raise MethodError(f"fused-layer-cam scales by a positive gamma, got gamma={gamma}")
    maps = [by_largest(each) for each in at_layers(ask, _LAYER_CAM)]
    maps[:-_DEEP] = [(gamma * each).tanh() for each in maps[:-_DEEP]]
    return reduce(torch.maximum, together(maps))
