"""Attention rollout: how much of each patch has reached the tokens that the score reads, by attention alone.

Abnar and Zuidema, *Quantifying Attention Flow in Transformers*, ACL 2020, arXiv 2005.00928, eq. 1:
each layer's attention, averaged over heads, is mixed half and half with the identity for the
residual connection, and the layers are multiplied. The score matters only in which tokens it
reads, so the map is the same for every class.
"""

import torch

from sightline.types import Attention, Maps, Questions


def attention_rollout(ask: Questions) -> Maps:
    """The read tokens' mean row of prod_l (A_l + I) / 2, later layers on the left, as a grid of patches.

    A_l's rows sum to 1; a row that was masked out wholly, and sums to 0, becomes the identity's.
    """
    layers = ask.attention()
    row = read_tokens(layers[-1])
    for layer in reversed(layers):
        mixed = layer.weights.mean(2) + torch.eye(row.shape[-1]).to(layer.weights)
        row = (row[..., None, :] @ (mixed / mixed.sum(-1, keepdim=True)))[..., 0, :]
    return patches(row, layers[-1])


def read_tokens(last: Attention) -> torch.Tensor:
    """Weights (N, K, T), summing to 1, that are equal on the tokens that each score reads and 0 elsewhere.

    A score reads the tokens whose rows of the last attention have a gradient: the class token's
    alone, or every token's where the head takes their mean. Where none has (a head that died) it
    is the class token, or all where there is no prefix.
    """
    read = (last.gradients != 0).any(-1).any(2)
    fallback = torch.arange(read.shape[-1], device=read.device) < (1 if last.prefix else read.shape[-1])
    read = torch.where(read.any(-1, keepdim=True), read, fallback).to(last.weights)
    return read / read.sum(-1, keepdim=True)


def patches(row: torch.Tensor, layer: Attention) -> Maps:
    """Values (N, K, T) of the tokens -> (N, K, h, w), without the prefix."""
    return row[..., layer.prefix :].reshape(*row.shape[:-1], *layer.grid)
