"""AttnLRP: layer-wise relevance propagation through attention, for transformers.

Achtibat et al., *AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for Transformers*, ICML 2024,
arXiv 2402.05602. Softmax shares relevance as its Taylor expansion does, products of activations (query
and key, attention and value) give half to each factor, layer norms and residual sums share by
contribution, and activations let it pass. Linear layers and the patch embedding take the gamma rule, as
in the authors' code for vision transformers, whose example tries gammas from 0 to 1; 0 is the epsilon
rule. Biases, position embeddings and softmax's expansion keep a share, so that the map needn't
sum to the score. Down to the image, summed over channels, signed. On nets without attention
it's lrp-gamma.
"""

from sightline.errors import MethodError
from sightline.methods.lrp_epsilon import check_epsilon
from sightline.types import Maps, Questions, Share, Sharing


def attn_lrp(ask: Questions, *, gamma: float = 0.05, epsilon: float = 1e-6) -> Maps:
    """sum_c R_c, with R by AttnLRP's rules from the score down."""
    if not 0 <= gamma < float("inf"):
        raise MethodError(f"attn-lrp takes a gamma of 0 or more, got gamma={gamma}; 0 is the epsilon rule")
    check_epsilon(epsilon, "attn-lrp")
    rule = Share.GAMMA if gamma else Share.EPSILON
    return ask.relevance(Sharing(rule, rule, rule, epsilon=epsilon, gamma=gamma, attention=True), to_image=True).sum(2)
