"""A model as it is explained: the module with what its source knows about it."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from sightline.engine import Adapted, Caller, Function, Inputs
from sightline.errors import ModelError
from sightline.language import Writer
from sightline.layers import Choice
from sightline.preprocess import Preprocess
from sightline.targets import Labels
from sightline.transforms import read_transform


class Task(StrEnum):
    """What a model gives for images, and so what can be asked of it."""

    CLASSES = "classes"  # logits (N, classes)
    ANSWERS = "answers"  # the same, once it is asked a question in words
    VALUES = "values"  # numbers (N,) or (N, numbers)
    REGIONS = "regions"  # logits (N, classes, h, w)
    BOXES = "boxes"  # targets.Candidates
    LIKENESS = "likeness"  # embeddings (N, D)
    WORDS = "words"  # logits (N, T, vocabulary), once it reads a sentence


@dataclass(frozen=True, kw_only=True)
class Model:
    """A module, its preprocessing, its labels, and the layer that its source recommends, if any.

    `choices` remembers the layer chosen for an image size; `note` is said beside each answer.
    `multi_label` models have independent classes: probabilities are sigmoids and don't sum to one.
    `frames` of a clip make one image (N, C, T, H, W), each preprocessed alone; 0 is a model of pictures.
    `answers` makes, of a question in words, a module that takes an image alone and gives logits over `labels`;
    `texts` makes, of a sentence, an embedding (D,) in the space of the images'; `writer` writes about images.
    """

    module: nn.Module
    name: str
    source: str = "module"
    preprocess: Preprocess = field(default_factory=Preprocess)
    labels: Labels = field(default_factory=lambda: Labels(()))
    layer: str | None = None
    multi_label: bool = False
    task: Task = Task.CLASSES
    frames: int = 0
    answers: Callable[[str], nn.Module] | None = None
    texts: Callable[[str], Tensor] | None = None
    writer: Writer | None = None
    note: str = ""
    choices: dict[tuple[int, ...], Choice] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def like(self) -> Tensor:
        """A tensor with the device and floating dtype that the module's images need."""
        floats = (p for p in self.module.parameters() if p.is_floating_point())
        return torch.empty(0).to(next(floats, torch.empty(0)))

    def to(self, device: str | torch.device, dtype: torch.dtype | None = None) -> "Model":
        """The model with its module moved to a device and, where given, a floating dtype."""
        return replace(self, module=self.module.to(device=device, dtype=dtype))

    @cached_property
    def weights_hash(self) -> str:
        """16 hex digits of SHA-256 over the parameters' and buffers' names, shapes and bytes, taken at first use."""
        digest, module = hashlib.sha256(), self.module
        while isinstance(module, Adapted):
            module = module.module
        for name, value in sorted(module.state_dict().items()):
            if isinstance(value, Tensor):
                digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
                digest.update(_bytes(value))
        return digest.hexdigest()[:16]


def _bytes(value: Tensor) -> Any:
    flat = value.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else b""


def wrap(
    module: nn.Module | Callable[[Tensor], Any],
    *,
    preprocess: Any = None,
    labels: Any = None,
    name: str | None = None,
    layer: str | None = None,
    multi_label: bool = False,
    task: str | Task | None = None,
    inputs: Mapping[str, Any] | None = None,
    image_name: str | None = None,
    call: Caller | None = None,
    answers: Callable[[str], nn.Module] | None = None,
    texts: Callable[[str], Tensor] | None = None,
    writer: Writer | None = None,
) -> Model:
    """Any module as a model, or any function from images to logits, which only methods of the image can ask.

    `preprocess` is a Preprocess, or torchvision's own transform, which is read; `labels` is a
    Labels, a sequence of class names, or a mapping from index to name. `task` says what it gives: classes, values,
    regions, boxes or likeness; it needn't be said of one with `answers`, `texts` or a `writer`, which are what a Model
    has them for. `inputs` are its other inputs by their names, tensors of one row or anything else,
    and `image_name` is the image's where it isn't the first; `call(module, image)` calls it in any other way.
    Raises ModelError for what is no module, for a transform whose framing can't be told, and for no such task.
    """
    if any(kind.__module__.startswith("keras.") for kind in type(module).__mro__):
        raise ModelError("a Keras model is read from its file: model.save('a.keras'), then sightline.load('a.keras')")
    if callable(module) and not isinstance(module, nn.Module | type):
        name, module = name or getattr(module, "__name__", None), Function(module)
    if not isinstance(module, nn.Module):
        raise ModelError(f"a torch.nn.Module is expected, got {type(module).__name__}; for a name use sightline.load")
    if task is None:
        task = Task.ANSWERS if answers else Task.LIKENESS if texts else Task.WORDS if writer else Task.CLASSES
    if task not in tuple(Task):
        raise ModelError(f"no task {task!r}; choose {', '.join(Task)}")
    own = name or type(module).__name__
    if call is not None and not callable(call):
        raise ModelError(f"call is a function of the module and an image, got {type(call).__name__}")
    if call is not None:
        module = Adapted(module, call)
    elif inputs is not None or image_name is not None:
        module = Adapted(module, Inputs(inputs or {}, image_name).check())
    if isinstance(labels, Mapping):  # index -> name, as many data sets keep them
        labels = [labels[index] for index in sorted(labels)]
    return Model(
        module=module,
        name=own,
        preprocess=Preprocess() if preprocess is None else read_transform(preprocess),
        labels=labels if isinstance(labels, Labels) else Labels(tuple(labels or ())),
        layer=layer,
        multi_label=multi_label,
        task=Task(task),
        answers=answers,
        texts=texts,
        writer=writer,
    )
