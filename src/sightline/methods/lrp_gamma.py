"""Layer-wise relevance propagation, gamma rule: the score shared by contribution, positive ones favoured.

Montavon et al., *Layer-Wise Relevance Propagation: An Overview*, in Explainable AI, 2019,
doi 10.1007/978-3-030-28954-6_10, section 10.2, for inputs that aren't negative. For others, contributions
of the sign of their sum are favoured, as in zennit. One gamma in all layers, where the authors
advise it for the lower ones: 0 is LRP-0, infinity the z+ rule (in units with a positive sum). Residual
sums and averages are shared by contribution, with `epsilon`. Down to the image, summed over channels, signed.
"""

from sightline.errors import MethodError
from sightline.methods.lrp_epsilon import check_epsilon
from sightline.types import Maps, Questions, Share, Sharing


def lrp_gamma(ask: Questions, *, gamma: float = 0.25, epsilon: float = 1e-6) -> Maps:
    """sum_c R_c, with R_j = sum_k (c_jk + gamma c_jk^+) / (sum_i (c_ik + gamma c_ik^+)) R_k, c_jk = x_j w_jk."""
    if not 0 <= gamma < float("inf"):
        raise MethodError(f"lrp-gamma takes a gamma of 0 or more, got gamma={gamma}; lrp-z-plus is its limit")
    check_epsilon(epsilon, "lrp-gamma")
    rule = Share.GAMMA
    return ask.relevance(Sharing(rule, rule, rule, epsilon=epsilon, gamma=gamma), to_image=True).sum(2)
