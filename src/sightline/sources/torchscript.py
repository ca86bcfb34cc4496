"""TorchScript files: code without layers, which methods that ask about the image can ask.

Gradients in the image are there (saliency, integrated-gradients), and all that needs none (occlusion, rise, muting).
"""

import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sightline.errors import ModelError, first_line
from sightline.model import Model
from sightline.sources.opened import opened

ENDINGS = (".ts", ".torchscript", ".pt", ".pth", ".ckpt", ".bin", ".safetensors")  # the last hold weights: it says so


def load(file: str, weights: str | None = None) -> Model:
    """The model in a TorchScript file, for images of 224 pixels until told otherwise.

    Raises ModelError where the file holds something else, such as weights alone.
    """
    if not _is_script(file):
        raise ModelError(
            f"{file} holds no TorchScript; if it holds weights, name their architecture and pass the file beside it: "
            f"--model resnet50 --weights {file}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's advice to whoever writes such files
            warnings.simplefilter("ignore", DeprecationWarning)
            module: nn.Module = torch.jit.load(file, map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:  # a damaged file makes torch raise errors of many kinds
        raise ModelError(f"{file} can't be read as TorchScript: {first_line(error)}") from error
    return opened(module, Path(file).name, "torchscript", call=_call)


def _call(module: nn.Module, image: Tensor) -> Any:
    try:
        return module(image)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # its last line says what went wrong, its others where in the script
        reason = str(error).strip().splitlines()[-1]
        raise ModelError(f"the TorchScript model failed on an image of {tuple(image.shape)}: {reason}") from error


def _is_script(file: str) -> bool:
    """Whether a file is torch's archive of code: one of weights has no constants."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(path.endswith("/constants.pkl") for path in archive.namelist())
