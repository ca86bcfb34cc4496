"""A model as it is explained: the module with what its source knows about it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from sightline.errors import ModelError
from sightline.layers import Choice
from sightline.preprocess import Preprocess
from sightline.targets import Labels
from sightline.transforms import read_transform


@dataclass(frozen=True, kw_only=True)
class Model:
    """A module, its preprocessing, its labels, and the layer that its source recommends, if any.

    `choices` remembers the layer chosen for an image size; `note` is said beside each answer.
    `multi_label` models have independent classes: probabilities are sigmoids and don't sum to one.
    """

    module: nn.Module
    name: str
    source: str = "module"
    preprocess: Preprocess = field(default_factory=Preprocess)
    labels: Labels = field(default_factory=lambda: Labels(()))
    layer: str | None = None
    multi_label: bool = False
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
        digest = hashlib.sha256()
        for name, value in sorted(self.module.state_dict().items()):
            if isinstance(value, Tensor):
                digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
                digest.update(_bytes(value))
        return digest.hexdigest()[:16]


def _bytes(value: Tensor) -> Any:
    flat = value.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else b""


def wrap(
    module: nn.Module,
    *,
    preprocess: Any = None,
    labels: Any = None,
    name: str | None = None,
    layer: str | None = None,
    multi_label: bool = False,
) -> Model:
    """Any module as a model.

    `preprocess` is a Preprocess, or torchvision's own transform, which is read; `labels` is a
    Labels, a sequence of class names, or a mapping from index to name. Raises ModelError for what
    is no module, and for a transform whose framing can't be told.
    """
    if not isinstance(module, nn.Module):
        raise ModelError(f"a torch.nn.Module is expected, got {type(module).__name__}; for a name use sightline.load")
    if isinstance(labels, Mapping):  # index -> name, as many data sets keep them
        labels = [labels[index] for index in sorted(labels)]
    return Model(
        module=module,
        name=name or type(module).__name__,
        preprocess=Preprocess() if preprocess is None else read_transform(preprocess),
        labels=labels if isinstance(labels, Labels) else Labels(tuple(labels or ())),
        layer=layer,
        multi_label=multi_label,
    )
