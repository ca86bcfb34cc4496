"""Layer-wise relevance propagation with a rule for each kind of layer: epsilon, z+, and flat at the image.

Kohlbrenner et al., *Towards Best Practice in Explaining Neural Network Decisions with LRP*, IJCNN
2020, arXiv 1910.09840: linear layers share relevance by contribution (epsilon), convolutions by
positive contribution (z+), and the first layer equally among the pixels that it sees (flat), which
makes the map independent of how bright they are. zennit knows it as EpsilonPlusFlat; it differs in
passing relevance unchanged through a batch norm that follows no convolution, as in DenseNet, where
here the shift keeps its share. Down to the image, summed over channels, signed.
"""

from sightline.methods.lrp_epsilon import check_epsilon
from sightline.types import Maps, Questions, Share, Sharing


def lrp_epsilon_plus_flat(ask: Questions, *, epsilon: float = 1e-6) -> Maps:
    """sum_c R_c, with R by the epsilon, z+ and flat rules from the score down."""
    check_epsilon(epsilon, "lrp-epsilon-plus-flat")
    rules = Sharing(convolution=Share.PLUS, linear=Share.EPSILON, first=Share.FLAT, epsilon=epsilon)
    return ask.relevance(rules, to_image=True).sum(2)
