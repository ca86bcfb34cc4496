"""KernelSHAP: the superpixels' Shapley values, each one's fair share of the score, by weighted regression.

Lundberg and Lee, *A Unified Approach to Interpreting Model Predictions*, NeurIPS 2017, arXiv
1705.07874, as captum has it: samples are drawn as often as the Shapley kernel weighs them, and the
image and the one with every superpixel covered weigh a million times as much, so that the shares
sum to the difference of their scores, almost.
"""

import torch

from sightline.methods.superpixels import needed, superpixel_weights
from sightline.types import Maps, Questions


def kernel_shap(
    ask: Questions, *, generator: torch.Generator, segments: int = 50, samples: int = 500, fill: str = "zero"
) -> Maps:
    """At each pixel its superpixel's share of f(image) - f(all covered), signed.

    With fewer samples than superpixels it is the smallest of many solutions.
    """
    explainer = needed("captum.attr").KernelShap
    return superpixel_weights(ask, explainer, generator, segments=segments, samples=samples, fill=fill)
