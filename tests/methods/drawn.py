"""What the methods are tested on: activations and gradients drawn from a seed, some of them K targets wide."""

import torch
from hypothesis import strategies as st
from torch import Tensor

SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, *, targets: int = 2) -> tuple[Tensor, Tensor]:
    """Signed activations (N, 1, C, h, w) and gradients (N, K, C, h, w) in float64: n=2 c=3 h=4 w=5."""
    generator = torch.Generator().manual_seed(seed)
    activations = torch.randn(2, 1, 3, 4, 5, generator=generator, dtype=torch.float64)
    gradients = torch.randn(2, targets, 3, 4, 5, generator=generator, dtype=torch.float64)
    return activations, gradients


def plane(*rows: list[float]) -> Tensor:
    """One channel, (1, h, w), written as its rows."""
    return torch.tensor(rows, dtype=torch.float64)[None]


def dead() -> tuple[Tensor, Tensor]:
    """A layer that died: activations of 0, gradients of 0 or not."""
    gradients = torch.zeros(2, 3, 4, 5, dtype=torch.float64)
    gradients[1] = drawn(0)[1][0, 0]
    return torch.zeros(2, 3, 4, 5, dtype=torch.float64), gradients
