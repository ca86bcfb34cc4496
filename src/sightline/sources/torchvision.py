"""Torchvision's classification models: weights by its own enum, class names from the weights' metadata."""

from contextlib import suppress
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from sightline.errors import ModelError, first_line
from sightline.model import Model
from sightline.preprocess import Preprocess
from sightline.targets import Labels
from sightline.transforms import read_transform

# The published weights of these two want channels re-scaled inside, and may carry training-only heads.
_OLD_INCEPTIONS = ("googlenet", "inception_v3")


def _models() -> Any:
    try:
        import torchvision.models as models
    except (ImportError, RuntimeError) as error:
        raise ModelError(
            f"torchvision can't be imported ({first_line(error)}); install the release that belongs to "
            f"torch {torch.__version__}, or pass a module through sightline.wrap"
        ) from error
    return models


def names() -> tuple[str, ...]:
    """All classification builders."""
    models = _models()
    return tuple(models.list_models(module=models))


def load(name: str, weights: str | None = None) -> Model:
    """A classification model with its default weights, those of an enum member such as `IMAGENET1K_V1`, or random ones.

    Weights are downloaded by torchvision, once. Raises ModelError with what to do where that fails.
    """
    models = _models()
    enum = models.get_model_weights(name)
    chosen = enum.DEFAULT
    if weights not in (None, "random"):
        if weights not in enum.__members__:
            raise ModelError(f"no weights {weights!r} for {name}; torchvision has {', '.join(enum.__members__)}")
        chosen = enum[weights]
    return Model(
        module=_built(models, name, None if weights == "random" else chosen),
        name=name,
        source="torchvision",
        preprocess=_preprocess(chosen),
        labels=Labels(tuple(chosen.meta["categories"]), _wnids(chosen.meta["categories"])),
    )


def _built(models: Any, name: str, weights: Any) -> nn.Module:
    options: dict[str, Any] = {}
    if weights is None and name in _OLD_INCEPTIONS:
        options = {"init_weights": False, "aux_logits": False, "transform_input": True}
    try:
        module: nn.Module = models.get_model(name, weights=weights, **options)
    except (URLError, OSError, RuntimeError) as error:
        if weights is None:
            raise
        raise ModelError(
            f"the weights of {name} could not be downloaded ({first_line(error)}); where there is a network, fetch "
            f"{weights.url} and pass the file with --weights (Python: weights=...), or put it into "
            f"{torch.hub.get_dir()}/checkpoints"
        ) from error
    return module


def _preprocess(weights: Any) -> Preprocess:
    return read_transform(weights.transforms())


def _wnids(categories: list[str]) -> tuple[str, ...]:
    """ImageNet's WordNet ids, which torchvision doesn't carry, from timm where that is installed."""
    with suppress(ImportError):
        from timm.data import ImageNetInfo

        found = tuple(ImageNetInfo().label_names())
        if len(found) == len(categories):
            return found
    return ()
