"""A trial of a linear model, two classes: s = the sum of weights times pixels, and 0; w * x explains it."""

from typing import Any

import torch
from torch import Tensor
from toys import Toy


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def linear(weights: Tensor, image: Tensor, raw: Tensor | None = None, **facts: Any) -> Toy:
    """Of weights and an image (C, H, W); its map is what each pixel adds to s, unless another is given."""

    def module(images: Tensor) -> Tensor:
        score = (images * weights.to(images)).flatten(1).sum(1)
        return torch.stack([score, torch.zeros_like(score)], 1)

    return Toy((weights * image).sum(0) if raw is None else raw, image=image, module=module, **facts)
