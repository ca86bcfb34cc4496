"""LayerCAM: each cell weighted by its own positive gradient, which stays sharp in early layers.

Jiang et al., *LayerCAM: Exploring Hierarchical Class Activation Maps for Localization*, IEEE
Transactions on Image Processing 2021, doi 10.1109/TIP.2021.3089943, eqs. 6 and 7.
"""

import torch

from sightline.types import Activations, Gradients, Maps


def layer_cam(activations: Activations, gradients: Gradients) -> Maps:
    """relu(sum_c relu(g_c) A_c), cell by cell."""
    return torch.einsum("...chw,...chw->...hw", gradients.relu(), activations).relu()
