"""One picture before one model: what all maps of it share, and the trials of one method's map of one class."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from PIL.Image import Image
from torch import Tensor, nn

from sightline.ask import ask
from sightline.engine import answered, bare
from sightline.errors import MetricError
from sightline.geometry import Framing
from sightline.layers import Layer, same_in
from sightline.methods import method as method_of
from sightline.model import Model
from sightline.outputs import wide
from sightline.regions import Heat
from sightline.targets import logits, probabilities, question
from sightline.trials import Sample, Truth, in_image
from sightline.types import Method

AT_ONCE = 16  # images in one pass


@dataclass
class Subject:
    """A picture as the model sees it. `copies` gives the model with a share of its weights lost."""

    model: Model
    sample: Sample
    image: Tensor
    framing: Framing
    logits: Tensor
    layers: Sequence[Layer]
    seed: int
    copies: Callable[[float], nn.Module]
    relabelled: Model | None = None
    kept: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    @cached_property
    def ranked(self) -> list[int]:
        """The model's classes, the highest first."""
        ranked: list[int] = self.logits.argsort(descending=True, stable=True).tolist()
        return ranked

    def maps(self, module: nn.Module, images: Tensor, index: int, method: Method) -> Tensor:
        """Raw maps (m, h, w) of images (m, C, H, W)."""
        parts, layers = [], same_in(bare(module), self.layers)
        for part in torch.split(images, AT_ONCE):
            asking = question(index, self.model.labels, len(part))
            found = ask(module, part.to(self.image), asking, layers, [method], seed=self.seed).found
            parts.append(found[0].maps[:, 0].float())
        return torch.cat(parts)

    def answers(self, images: Tensor) -> Tensor:
        """Logits (m, classes) of images (m, C, H, W)."""
        module = self.model.module
        return torch.cat([wide(logits(answered(module, part.to(self.image)))) for part in torch.split(images, AT_ONCE)])


@dataclass
class Judged:
    """A trial (see trials.Trial): the map of one class by one method, in `module`, the model unless a copy of it."""

    subject: Subject
    method: Method
    module: nn.Module
    index: int
    label: str
    truth: Truth | None
    raw: Tensor

    @property
    def sample(self) -> Sample:
        return self.subject.sample

    @property
    def image(self) -> Tensor:
        return self.subject.image

    @property
    def framing(self) -> Framing:
        return self.subject.framing

    @property
    def rank(self) -> int:
        return self.subject.ranked.index(self.index)

    @property
    def rivals(self) -> Sequence[int]:
        return [index for index in self.subject.ranked if index != self.index]

    @cached_property
    def heat(self) -> Heat:
        return self.framing.to_picture(self.raw).cpu().numpy()

    @cached_property
    def map(self) -> Tensor:
        return in_image(self.raw, self.image.shape[1:])

    def colour(self, red: float, green: float, blue: float) -> Tensor:
        preprocess = self.subject.model.preprocess
        values = [red, green, blue] if len(preprocess.mean) == 3 else [0.299 * red + 0.587 * green + 0.114 * blue]
        mean, std, given = (self.image.new_tensor(each) for each in (preprocess.mean, preprocess.std, values))
        return ((given - mean) / std)[:, None, None]

    def see(self, pictures: Sequence[Image]) -> Tensor:
        return torch.stack([self.subject.model.preprocess(picture) for picture in pictures]).to(self.image)

    def logits(self, images: Tensor) -> Tensor:
        return self.subject.answers(images)

    def confidence(self, images: Tensor) -> Tensor:
        return probabilities(self.logits(images), multi_label=self.subject.model.multi_label)[:, self.index]

    def scores(self, images: Tensor) -> Tensor:
        return self.logits(images)[:, self.index]

    def again(self, images: Tensor | None = None, index: int | None = None) -> Tensor:
        images = self.image[None] if images is None else images
        return self.subject.maps(self.module, images, self.index if index is None else index, self.method)

    def by(self, method: str) -> Tensor:
        key = method, self.index
        if key not in self.subject.kept:
            module, image = self.subject.model.module, self.image[None]
            self.subject.kept[key] = self.subject.maps(module, image, self.index, method_of(method))[0]
        return self.subject.kept[key]

    def randomised(self, share: float) -> Tensor:
        return self.subject.maps(self.subject.copies(share), self.image[None], self.index, self.method)[0]

    def relabelled(self) -> Tensor:
        other = self.subject.relabelled
        if other is None:
            raise MetricError(
                "this metric compares with a model trained on random labels, and none was given; "
                "name one with relabelled= (--relabelled)"
            )
        return self.subject.maps(other.module, self.image[None], self.index, self.method)[0]

    def generator(self) -> torch.Generator:
        drawn = zlib.crc32(self.sample.name.encode())
        return torch.Generator().manual_seed((self.subject.seed << 32) + drawn)
