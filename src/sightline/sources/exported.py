"""Exported programs (`.pt2`, of torch.export.save): their layers keep their names, so every method can ask them."""

import io
import json
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sightline.errors import ModelError, first_line
from sightline.model import Model
from sightline.sources.opened import opened

ENDINGS = (".pt2",)
_EXPORT = "torch.export.save(torch.export.export(model.eval(), (image,)), FILE)"


def load(file: str, weights: str | None = None) -> Model:
    """The program in a file as a module again, with the layers that it was exported from, for images of its size.

    A file that keeps anything by pickle but tensors is refused unread: unpickling it could run code.
    Raises ModelError for that, for a program of several inputs, and for one exported in training mode.
    """
    _check_pickles(file)
    try:
        program = torch.export.load(file)
        module = torch.export.unflatten(program)
    except Exception as error:  # a damaged file, or one of another release, makes torch raise errors of many kinds
        raise ModelError(
            f"{file} can't be read as an exported program: {first_line(error)}; write it by {_EXPORT}"
        ) from error
    name, image = _image_of(program, file)
    if _is_in_training(program):
        raise ModelError(f"{file} was exported in training mode, in which it drops at random or averages; {_EXPORT}")
    batch, *size = (length if isinstance(length, int) else None for length in image.shape)
    _forget_values(module)
    return opened(
        module, Path(file).name, "exported", (size[0], size[1], size[2]), batch=batch, call=_Call(name, tuple(size))
    )


def _check_pickles(file: str) -> None:
    """Raise ModelError where torch would unpickle, of a file, anything but tensors, or run compiled code in it."""
    try:
        with zipfile.ZipFile(file) as archive:
            for path in archive.namelist():
                *_, folder, entry = ("", *path.split("/"))
                known = folder in ("constants", "weights") and entry.endswith(".json")
                rows = json.loads(archive.read(path)).get("config", {}) if known else {}
                pickled = any(row.get("use_pickle") for row in rows.values())
                if pickled or "aotinductor" in path or entry.startswith(("custom_obj_", "opaque_obj_")):
                    raise ModelError(f"{file} holds more than a program and tensors ({path}); write it by {_EXPORT}")
                if entry.endswith(".pt"):
                    torch.load(io.BytesIO(archive.read(path)), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(f"{file} holds more than tensors ({path}), and reading it could run code") from error
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{file} can't be read as an exported program: {first_line(error)}") from error


def _forget_values(module: Any) -> None:
    """Drop what the exporter noted of each value: sizes, which the call checks, and stand-ins that can't be copied."""
    module.check_input_constraints, module.input_placeholders = False, []
    for part in module.modules():
        for node in part.graph.nodes if hasattr(part, "graph") else ():
            node.meta.clear()


@dataclass(frozen=True)
class _Call:
    """An image of the exported size, as the first argument or the keyword that the program knows."""

    name: str | None
    size: tuple[int | None, ...]

    def __call__(self, module: nn.Module, image: Tensor) -> Any:
        if any(wanted not in (None, got) for wanted, got in zip(self.size, image.shape[1:], strict=True)):
            wanted = " x ".join("any" if length is None else str(length) for length in self.size)
            raise ModelError(
                f"the program was exported for images of {wanted}, got {tuple(image.shape[1:])}; "
                "keep its size, or export it again with dynamic_shapes"
            )
        return module(image) if self.name is None else module(**{self.name: image})


def _image_of(program: Any, file: str) -> tuple[str | None, Tensor]:
    """The name of the program's one input, None for its first argument, and its (symbolic) value."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    inputs = [values.get(name) for name in program.graph_signature.user_inputs]
    given = program.module_call_graph[0].signature.in_spec.unflatten([*range(len(inputs))])
    match inputs, given:
        case [Tensor() as image], ((0,), {}):
            return None, image
        case [Tensor() as image], ((), {**named}) if image.ndim == 4 and [*named.values()] == [0]:
            return str(next(iter(named))), image
    raise ModelError(
        f"{file} takes {len(inputs)} inputs, or one in a container; a program of one image (N, C, H, W) is expected. "
        "In Python: sightline.wrap(torch.export.unflatten(program), inputs=...)"
    )


def _is_in_training(program: Any) -> bool:
    return any(_trains(node) for node in program.graph.nodes if isinstance(node.target, torch._ops.OpOverload))


def _trains(node: Any) -> bool:
    arguments = node.target._schema.arguments
    given = {argument.name: value for argument, value in zip(arguments, node.args)} | dict(node.kwargs)
    return given.get("train") is True or given.get("training") is True
