"""Excitation backprop: the probability that a unit wins, passed down by a winner-take-all among its inputs.

Zhang et al., *Top-down Neural Attention by Excitation Backprop*, ECCV 2016, arXiv 1608.00507. The
class's unit wins with probability 1, and each unit hands its probability to its inputs in
proportion to activation times positive weight; where there is none, it is lost. The map sums the
layer's marginal winning probabilities (MWP) over channels. Defined for activations that give no
negative values, such as ReLU, and refused on others. Batch norm is folded into the convolution before
it, which does what the authors do by turning negative scales round; elsewhere it passes, as with them.
A residual sum is shared by positive contribution, where the authors' code gives all of it to one of
its two terms. Signed inputs, which the paper rules out and linear bottlenecks have, contribute where
they have their weight's sign. What speaks against a class is its dual, whose weights are negated;
where classes are weighed against each other, the map is what one has more than the others.
"""

from sightline.types import Maps, Questions, Share, Sharing

WINNING = Sharing(
    convolution=Share.PLUS, linear=Share.PLUS, first=Share.PLUS, sums=Share.PLUS, probability=True
)  # fmt: skip


def excitation_backprop(ask: Questions) -> Maps:
    """sum_c P_c, with P_j = sum_i x_j w_ij^+ / (sum_k x_k w_ik^+) P_i from the class down."""
    return ask.relevance(WINNING).sum(2).clamp(min=0)
