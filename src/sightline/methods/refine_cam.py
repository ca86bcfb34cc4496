"""RefineCAM: Grad-CAM++ at every resolution, multiplied: fine where the early layers are, at home where the late are.

Domeniconi et al., *How to Evaluate and Refine your CAM*, 2026, arXiv 2605.14641. Read in the
authors' code and not in the paper's equations: each layer's map is brought to 0..1 (less its
minimum, by its maximum), upsampled bilinearly and multiplied. The authors upsample to the image
and rescale once more there, this goes to the finest of the maps and leaves the product raw; they
take the last layer of each stage of a ResNet, this the last of each resolution. A map that is the
same everywhere says nothing about where: 1, or 0 where it is zeros.
"""

from functools import reduce

import torch

from sightline.methods.compose import at_layers, together
from sightline.methods.grad_cam_plus_plus import grad_cam_plus_plus
from sightline.methods.grids import positions
from sightline.types import Maps, Method, Questions

_GRAD_CAM_PLUS_PLUS = Method(
    "grad-cam++", grad_cam_plus_plus, "arXiv 1710.11063", "as Grad-CAM, for several objects of one class"
)


def refine_cam(ask: Questions) -> Maps:
    """prod_l up((L_l - min L_l) / (max L_l - min L_l)), L_l the Grad-CAM++ map at layer l."""
    return reduce(torch.mul, together([_from_0_to_1(maps) for maps in at_layers(ask, _GRAD_CAM_PLUS_PLUS)]))


def _from_0_to_1(maps: Maps) -> Maps:
    space = positions(maps)
    low, high = maps.amin(space, keepdim=True), maps.amax(space, keepdim=True)
    return torch.where(high > low, (maps - low) / (high - low), (high > 0).to(maps))
