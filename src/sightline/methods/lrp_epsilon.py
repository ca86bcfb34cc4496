"""Layer-wise relevance propagation, epsilon rule: the score shared by contribution, layer by layer.

Bach et al., *On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance
Propagation*, PLoS ONE 2015, doi 10.1371/journal.pone.0130140, eq. 58. Down to the image, summed over
channels, signed. Biases keep their share; but for those and for epsilon the map sums to the score.
With epsilon = 0 a sum of 0 passes nothing on, and in a net of ReLUs and maxima the map is input x
gradient.
"""

from sightline.errors import MethodError
from sightline.types import Maps, Questions, Share, Sharing


def lrp_epsilon(ask: Questions, *, epsilon: float = 1e-6) -> Maps:
    """sum_c R_c, with R_j = sum_k x_j w_jk / (z_k + epsilon sign(z_k)) R_k from the score down."""
    check_epsilon(epsilon, "lrp-epsilon")
    rule = Share.EPSILON
    return ask.relevance(Sharing(rule, rule, rule, epsilon=epsilon), to_image=True).sum(2)


def check_epsilon(epsilon: float, method: str) -> None:
    """Raises MethodError where it would not stabilise."""
    if not 0 <= epsilon < float("inf"):
        raise MethodError(f"{method} takes an epsilon of 0 or more, got epsilon={epsilon}; 1e-6 hardly changes the map")
