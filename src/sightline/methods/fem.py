"""FEM: count, at each cell, the channels that are unusually strong there, each by its mean.

Fuad et al., *Features Understanding in 3D CNNs for Actions Recognition in Video*, IPTA 2020, doi
10.1109/IPTA50016.2020.9286629: the Feature Explanation Method, "unusually" by the k-sigma rule with
k = 2. pytorch-grad-cam has something else under this name: it multiplies the activations
themselves by the share of cells that are above the threshold.
"""

from sightline.errors import MethodError
from sightline.types import Activations, Maps


def fem(activations: Activations, *, sigmas: float = 2.0) -> Maps:
    """sum_c m_c [A_c > m_c + sigmas s_c], with each channel's mean m and standard deviation s over cells.

    Signed as the means are. No cell of an even channel is above it, nor, at 2 sigmas, any of a grid of fewer than 5.
    """
    if sigmas < 0:
        raise MethodError(f"fem's threshold lies at or above the mean, got sigmas={sigmas}; leave it out for 2.0")
    means = activations.mean((-2, -1), keepdim=True)
    spreads = activations.std((-2, -1), correction=0, keepdim=True)
    return ((activations > means + sigmas * spreads) * means).sum(-3)
