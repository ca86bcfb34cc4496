"""CAM: the class's own weights applied to the last feature map.

Zhou et al., *Learning Deep Features for Discriminative Localization*, CVPR 2016, arXiv
1512.04150, eq. 2. Defined for a net that ends in global average pooling and one linear layer,
where the paper's weights w_c are the gradient summed over positions; any other head is refused
rather than given a map under this name.
"""

import torch

from sightline.types import Activations, Gradients, Maps


def cam(activations: Activations, gradients: Gradients) -> Maps:
    """sum_c w_c A_c, signed, with w_c = sum_xy g_c: the linear layer's weights under average pooling."""
    return torch.einsum("...c,...chw->...hw", gradients.sum((-2, -1)), activations)
