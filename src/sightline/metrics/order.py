"""The order in which a map's pixels are taken away: by value, ties by a seeded draw, never by a percentile."""

import torch
from torch import Tensor


def order(values: Tensor, generator: torch.Generator) -> Tensor:
    """Flat indices (n,) of a map's values, the highest first; among equals in an order that is drawn."""
    flat = values.flatten().cpu()
    drawn = torch.randperm(flat.numel(), generator=generator)
    return drawn[flat[drawn].argsort(descending=True, stable=True)]
