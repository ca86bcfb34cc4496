"""Attention relevance: attention weighted by its positive effect on the score, followed through all layers.

Chefer, Gur and Wolf, *Generic Attention-model Explainability for Interpreting Bi-Modal and
Encoder-Decoder Transformers*, ICCV 2021, arXiv 2103.15679, eqs. 5 and 6, for self-attention. The
authors' earlier method (CVPR 2021, arXiv 2012.09838) takes layer-wise relevance in the place of
the attention weights; this one needs no propagation rules.
"""

import torch

from sightline.methods.attention_rollout import patches, read_tokens
from sightline.types import Maps, Questions


def attention_relevance(ask: Questions) -> Maps:
    """The read tokens' mean row of R - I, R = prod_l (I + mean_heads relu(g_l A_l)), as a grid of patches.

    The paper reads the class token's row, whose share of I has no place in the grid. Where the head
    takes the mean of all tokens, their share would be the same constant in every cell: left out.
    """
    layers = ask.attention()
    start = read_tokens(layers[-1])
    gained = torch.zeros_like(start)  # the row less its start, apart from it so that small relevance isn't lost
    for layer in reversed(layers):
        helped = (layer.gradients * layer.weights).relu().mean(2)
        gained = gained + ((start + gained)[..., None, :] @ helped)[..., 0, :]
    return patches(gained, layers[-1])
