"""Any module of one's own, by import path: `package.module:factory`, with weights from a file."""

import importlib
from typing import Any

from torch import nn

from sightline.errors import ModelError
from sightline.model import Model, wrap


def load(path: str, weights: str | None = None) -> Model:
    """The nn.Module, or sightline.Model, that `package.module:name` is, or returns when called without arguments.

    A bare module is taken to want ImageNet's preprocessing, and the note says so.
    Raises ModelError where it can't be imported or is something else.
    """
    where, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(where)
        for part in name.split("."):
            found = getattr(found, part)
        if not isinstance(found, nn.Module | Model):
            found = found()
    except Exception as error:  # the user's own code may raise anything
        raise ModelError(f"{path!r} can't be imported and made ({type(error).__name__}: {error})") from error
    if isinstance(found, Model):
        return found
    if not isinstance(found, nn.Module):
        raise ModelError(f"{path!r} gives a {type(found).__name__}; expected a torch.nn.Module or a sightline.Model")
    assumed = wrap(found, name=path).preprocess
    return Model(
        module=found,
        name=path,
        source="import path",
        preprocess=assumed,
        note=(
            f"assumed ImageNet's preprocessing ({assumed.size[0]} px, centre crop) for {path}; "
            "change it with --size, --fit, --mean, --std"
        ),
    )
