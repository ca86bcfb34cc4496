"""A trial made by hand: a map, an image, a truth, and a model that is a plain function."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sightline.errors import MetricError
from sightline.geometry import Framing
from sightline.trials import Sample, Truth, in_image


def _flat(images: Tensor) -> Tensor:
    """Two classes: the mean of all values, and minus that."""
    mean = images.flatten(1).mean(1)
    return torch.stack([mean, -mean], 1)


@dataclass
class Toy:
    """Picture and image are the same size, and so is the heat; `module` gives logits, `method` raw maps (m, h, w)."""

    raw: Tensor
    truth: Truth | None = None
    label: str = "thing"
    index: int = 0
    rank: int = 0
    rivals: Sequence[int] = (1,)
    image: Tensor = field(default_factory=lambda: torch.zeros(3, 8, 8))
    module: Callable[[Tensor], Tensor] = _flat
    method: Callable[[Tensor, int], Tensor] | None = None
    others: dict[str, Tensor] = field(default_factory=dict)
    randoms: Callable[[float], Tensor] | None = None
    relabel: Tensor | None = None
    parted: Any = None
    seed: int = 0

    @property
    def size(self) -> tuple[int, int]:
        return self.image.shape[2], self.image.shape[1]

    @property
    def sample(self) -> Sample:
        truths = () if self.truth is None else (self.truth,)
        return Sample("toy", Image.new("RGB", self.size), truths, self.parted)

    @property
    def framing(self) -> Framing:
        return Framing.whole(self.size)

    @property
    def map(self) -> Tensor:
        return in_image(self.raw, self.image.shape[1:])

    @property
    def heat(self) -> Any:
        return np.asarray(self.framing.to_picture(self.raw))

    def colour(self, red: float, green: float, blue: float) -> Tensor:
        return torch.tensor([red, green, blue]).view(3, 1, 1)

    def see(self, pictures: Sequence[Image.Image]) -> Tensor:
        arrays = [np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) / 255 for picture in pictures]
        return torch.from_numpy(np.stack(arrays))

    def logits(self, images: Tensor) -> Tensor:
        return self.module(images)

    def confidence(self, images: Tensor) -> Tensor:
        return self.module(images).softmax(1)[:, self.index]

    def scores(self, images: Tensor) -> Tensor:
        return self.module(images)[:, self.index]

    def again(self, images: Tensor | None = None, index: int | None = None) -> Tensor:
        assert self.method is not None
        images = self.image[None] if images is None else images
        return self.method(images, self.index if index is None else index)

    def by(self, method: str) -> Tensor:
        return self.others[method]

    def randomised(self, share: float) -> Tensor:
        assert self.randoms is not None
        return self.randoms(share)

    def relabelled(self) -> Tensor:
        if self.relabel is None:
            raise MetricError("no model trained on random labels was given")
        return self.relabel

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)
