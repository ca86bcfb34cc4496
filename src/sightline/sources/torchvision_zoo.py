"""What all of torchvision's models have in common: builders by name, weights by their own enums, one download."""

from types import ModuleType
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from sightline.errors import ModelError, first_line


def zoo() -> Any:
    """`torchvision.models`, imported when it is needed. Raises ModelError where it can't be."""
    try:
        import torchvision.models as models
    except (ImportError, RuntimeError) as error:
        raise ModelError(
            f"torchvision can't be imported ({first_line(error)}); install the release that belongs to "
            f"torch {torch.__version__}, or pass a module through sightline.wrap"
        ) from error
    return models


def builders(module: ModuleType) -> tuple[str, ...]:
    """The names of the models that one of its modules builds."""
    return tuple(zoo().list_models(module=module))


def weights_of(name: str, weights: str | None) -> Any:
    """The member of a model's enum of weights that is meant; the default one for None and `random`, for what it says.

    Raises ModelError for another name.
    """
    enum = zoo().get_model_weights(name)
    if weights in (None, "random"):
        return enum.DEFAULT
    if weights not in enum.__members__:
        raise ModelError(f"no weights {weights!r} for {name}; torchvision has {', '.join(enum.__members__)}")
    return enum[weights]


def built(name: str, weights: Any, **options: Any) -> nn.Module:
    """The model with a member of its enum of weights, downloaded once, or with random ones for None.

    Raises ModelError with what to do where the download fails.
    """
    try:
        module: nn.Module = zoo().get_model(name, weights=weights, **options)
    except (URLError, OSError, RuntimeError) as error:
        if weights is None:
            raise
        raise ModelError(
            f"the weights of {name} could not be downloaded ({first_line(error)}); where there is a network, fetch "
            f"{weights.url} and pass the file with --weights (Python: weights=...), or put it into "
            f"{torch.hub.get_dir()}/checkpoints"
        ) from error
    return module
