"""The order in which a pass calls a model's modules."""

from typing import Any

import torch
from torch import Tensor, nn

from sightline.engine.loan import borrowed
from sightline.engine.passes import Hook, plain, run


def called(model: nn.Module, image: Tensor) -> list[str]:
    """The names of the modules below the model that are called, in the order in which their last calls end."""
    order: dict[str, None] = {}

    def noted(name: str) -> Hook:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            order.pop(name, None)
            order[name] = None

        return hook

    hooks = [(module, noted(name)) for name, module in model.named_modules() if name]
    with borrowed(model), torch.inference_mode(False), torch.no_grad():
        run(model, plain(image), hooks)
    return list(order)
