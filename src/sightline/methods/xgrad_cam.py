"""XGrad-CAM: weight each channel by its gradient, averaged where the channel is active.

Fu et al., *Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs*, BMVC
2020, arXiv 2008.02312, eq. 8. The authors add an epsilon to the denominator; here a channel that
sums to exactly 0 has weight 0.
"""

import torch

from sightline.types import Activations, Gradients, Maps


def xgrad_cam(activations: Activations, gradients: Gradients) -> Maps:
    """relu(sum_c w_c A_c), w_c = sum_xy g A / sum_xy A, and 0 where sum_xy A is 0."""
    total = activations.sum((-2, -1))
    weights = torch.einsum("...chw,...chw->...c", gradients, activations) / total
    return torch.einsum("...c,...chw->...hw", weights.where(total != 0, 0.0), activations).relu()
