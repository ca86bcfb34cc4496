"""A trial whose model is as sure as it is told: of the image, and of its explanation map."""

import torch
from torch import Tensor
from toys import Toy


def sure(before: float, after: float, raw: Tensor | None = None) -> Toy:
    def module(images: Tensor) -> Tensor:
        known = torch.tensor([before, after], dtype=torch.float64)
        whole = images.flatten(1).mean(1) == 1
        confidence = torch.where(whole, *known)
        return torch.stack([confidence.log(), (1 - confidence).log()], 1)

    return Toy(torch.tensor([[0.0, 1.0]]) if raw is None else raw, image=torch.ones(3, 8, 8), module=module)
