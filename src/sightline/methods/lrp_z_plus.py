"""Layer-wise relevance propagation, z+ rule: the score shared by positive contribution, layer by layer.

Montavon et al., *Explaining Nonlinear Classification Decisions with Deep Taylor Decomposition*,
Pattern Recognition 2017, arXiv 1512.02479, the rule for inputs that aren't negative; the same as alpha
= 1, beta = 0 of Bach et al. An input of either sign contributes where it has its weight's, which is
how the image's own pixels are read, for which the paper has a rule of its own (z^B). Down to the image,
summed over channels: of one sign, the score's. Biases keep nothing, so that the map sums to the score
wherever each unit has a positive contribution. Residual sums and averages are shared likewise.
"""

from sightline.types import Maps, Questions, Share, Sharing


def lrp_z_plus(ask: Questions) -> Maps:
    """sum_c R_c, with R_j = sum_k (x_j w_jk)^+ / (sum_i (x_i w_ik)^+) R_k from the score down."""
    rule = Share.PLUS
    return ask.relevance(Sharing(rule, rule, rule, sums=rule), to_image=True).sum(2)
