"""Ablation-CAM: weight each channel by the share of the score that is lost when it is set to zero.

Desai and Ramaswamy, *Ablation-CAM: Visual Explanations for Deep Convolutional Network via
Gradient-free Localization*, WACV 2020, doi 10.1109/WACV45572.2020.9093360. The paper's w_k =
(y - y_k) / y turns the map round where the score y is negative, as logits and contrasts may be, so
that what speaks against the class lights up; this divides by |y|. Only the head runs again.
"""

import torch

from sightline.types import Maps, Questions


def ablation_cam(ask: Questions) -> Maps:
    """relu(sum_k w_k A_k), w_k = (y - y_k) / |y|, y_k the score with channel k at 0.

    1/|y| scales the whole map; it is left out where y is 0.
    """
    activations = ask.activations()
    channels = activations.shape[2]
    others = []
    for part in ask.parts(channels, heads=True):
        kept = torch.ones(part.stop - part.start, channels).to(activations)
        kept[range(len(kept)), range(part.start, part.stop)] = 0
        others.append(ask.of_activations(activations * kept[:, :, None, None]))
    drops = ask.scores[:, None] - torch.cat(others, 1)
    size = ask.scores.abs()[:, None]
    weights = (drops / torch.where(size > 0, size, 1)).to(activations)
    return torch.einsum("nck,nchw->nkhw", weights, activations[:, 0]).relu()
