"""Weights from a file into a module, read without running any code in the file."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sightline.engine import Adapted
from sightline.errors import ModelError, first_line

_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
_PREFIXES = ("module.", "_orig_mod.")


def read_weights(file: str | Path) -> dict[str, Tensor]:
    """A state dict from safetensors, or from a torch checkpoint loaded with `weights_only=True`.

    Wrappers (`state_dict`, ...) and the prefixes of DataParallel and torch.compile are taken off.
    Raises ModelError where the file is missing, damaged, or would have to be unpickled.
    """
    path = Path(file)
    if not path.is_file():
        raise ModelError(f"no weights file {str(file)!r}; give the path of a .safetensors or a torch checkpoint")
    try:
        state: Any = load_file(path) if path.suffix == ".safetensors" else _load(path)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds more than weights, and unpickling it could run code; save its state_dict() with safetensors"
        ) from error
    except Exception as error:  # a damaged file makes the readers raise errors of many kinds
        raise ModelError(f"{path} can't be read as weights: {first_line(error)}") from error
    while isinstance(state, Mapping) and (
        inner := next((k for k in _WRAPPERS if isinstance(state.get(k), Mapping)), "")
    ):
        state = state[inner]
    if not isinstance(state, Mapping) or not any(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{path} holds no state dict but a {type(state).__name__}; save model.state_dict()")
    tensors = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


def _load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def fill(module: nn.Module, weights: Mapping[str, Tensor], *, given: str) -> None:
    """Copy weights into a module, cast to the module's dtypes.

    Raises ModelError, naming what is missing, unexpected and of another shape, before anything is
    copied. Counters of batch norm may be missing: they are not used to answer.
    """
    while isinstance(module, Adapted):
        module = module.module
    own = module.state_dict()
    missing = [key for key in own if key not in weights and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in weights if key not in own]
    shapes = [
        f"{key} {tuple(weights[key].shape)} for {tuple(own[key].shape)}"
        for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    faults = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    if any(faults.values()):
        told = "; ".join(f"{len(keys)} {what}: {_few(keys)}" for what, keys in faults.items() if keys)
        raise ModelError(f"{given} doesn't fit {type(module).__name__}: {told}")
    module.load_state_dict(dict(weights), strict=False)


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:4]) + (", ..." if len(keys) > 4 else "")
