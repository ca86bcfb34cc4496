"""Score-CAM: weight each channel by the score of the image seen through it, without any gradient.

Wang et al., *Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks*,
CVPR Workshops 2020, arXiv 1910.01279, algorithm 1. A channel's mask is upsampled first and
normalised after that, as in the paper. The increase of confidence f(M_k o X) - f(X_b) is a softmax's
argument, which a term common to all channels doesn't change: f(X_b) isn't asked for. The score
is the one that was asked about (a logit); the authors' code takes its probability instead.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from sightline.methods.grids import positions, resized
from sightline.types import Activations, Images, Maps, Questions


def score_cam(ask: Questions) -> Maps:
    """relu(sum_k w_k A_k), w = softmax over channels of f(M_k o X), M_k the upsampled A_k between 0 and 1.

    A channel that is even has no M_k (0/0): it lets nothing through, and scores as the black image does.
    """
    activations = ask.activations()
    scores = [
        ask.of_images(ask.image[:, None] * masks(activations[:, 0, part], ask.grid, ask.image)[:, :, None])
        for part in ask.parts(activations.shape[2])
    ]
    return weighted(activations, torch.cat(scores, 1))


def masks(channels: Activations, grid: Sequence[int], image: Images) -> Tensor:
    """Channels (N, m, h, w) -> masks (N, m, H, W) of the image's size, each from 0 to 1, and 0 where it is even."""
    large = resized(channels.reshape(*channels.shape[:2], *grid), image.shape[2:])
    space = positions(large)
    low, high = large.amin(space, keepdim=True), large.amax(space, keepdim=True)
    return (large - low) / torch.where(high > low, high - low, 1)


def weighted(activations: Activations, scores: Tensor) -> Maps:
    """relu(sum_k w_k A_k), w the softmax over channels of their scores (N, C, K)."""
    return torch.einsum("nck,nchw->nkhw", scores.softmax(1).to(activations), activations[:, 0]).relu()
