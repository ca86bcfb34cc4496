"""LeGrad: where more attention would raise the class's score, block by block.

Bousselham et al., *LeGrad: An Explainability Method for Vision Transformers via Feature Formation
Sensitivity*, ICCV 2025, arXiv 2404.03214. Each block has a score of its own, its mean token read
by the model's head, and is explained by that score's gradient in that block's attention, not by
gradient times attention. Differs from the paper in that the map is not normalised, that all
blocks are used (the authors' code starts late in large models), and that a head which pools by
attention is treated as any other, where the paper takes the gradient in the pooling's attention.
"""

import torch

from sightline.methods.attention_rollout import patches
from sightline.types import Maps, Questions


def legrad(ask: Questions) -> Maps:
    """mean_l mean_heads,rows relu(g_l), as a grid of patches, g_l the gradient of block l's score in its attention."""
    layers = ask.layer_attention()
    return torch.stack([patches(layer.gradients.relu().mean((2, 3)), layer) for layer in layers]).mean(0)
