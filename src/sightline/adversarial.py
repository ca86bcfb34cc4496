"""Fooling a model: a picture changed so little that nobody sees it, in which the model sees what isn't there.

Targeted projected gradient descent (Madry et al., 2018, arXiv 1706.06083): steps by the signs of the
gradient of the class's cross entropy, or of its logit where classes are independent, inside an
L-infinity ball. Selvaraju et al., arXiv 1610.02391, ask of a picture so fooled whether the maps of
the classes that are in it still point at them.

What differs from Madry et al.: a fooled picture is a picture. It moves by whole 8-bit levels, so that
saved and read again it fools as before. And it starts at the picture itself and stops where the model
is sure enough, so that it changes no more than it must; a random start is an option.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sightline import engine
from sightline.errors import MethodError, ModelError, PictureError
from sightline.images import PictureLike, read_picture
from sightline.model import Model
from sightline.outputs import wide
from sightline.preprocess import Preprocess
from sightline.targets import class_, logits, probabilities

WHITE = 255  # in 8-bit levels
AT_ONCE = 16  # images in one pass


@dataclass(frozen=True)
class Fooled:
    """N images as the model sees them (N, C, H, W), changed towards one class.

    The class's probability `before` and after, the `steps` that were taken, and the largest change of any
    value, in 8-bit `levels` (all N). `model.preprocess.shown(image[0])` is the picture to save.
    """

    image: Tensor
    before: Tensor
    probability: Tensor
    steps: Tensor
    levels: Tensor


def fooled(
    model: Model,
    pictures: PictureLike | list[PictureLike] | Tensor,
    target: int | str,
    *,
    epsilon: float = 8 / WHITE,
    step: float = 1 / WHITE,
    steps: int = 100,
    probability: float = 0.999,
    random_start: bool = False,
    seed: int = 0,
) -> Fooled:
    """Change pictures, or images (N, C, H, W) as the model sees them, until a class is above `probability`.

    No value changes by more than `epsilon`, nor by more than `step` at once, where black to white is 1; both
    are rounded down to 8-bit levels. Images are rounded to the nearest ones before anything else. After
    `steps` steps a picture comes back however far it got. A `random_start`, drawn from the seed, is the
    same for every picture. What framing padded is changed like the rest.
    Raises TargetError for an unknown class, MethodError for options out of range, PictureError, CutOff where
    the class's score has no gradient in the image, and ModelError.
    """
    for name, change in (("epsilon", epsilon), ("step", step)):
        if not 1 / WHITE <= change <= 1:
            raise MethodError(f"{name} is a change of colour from 1/255, one 8-bit level, to 1, got {change}")
    if steps < 1:
        raise MethodError(f"a picture is changed in 1 step or more, got steps={steps}")
    if not 0 < probability < 1:
        raise MethodError(f"the probability to reach is above 0 and below 1, got {probability}; leave it out for 0.999")
    index = model.labels.index(target) if isinstance(target, str) else target
    radius, pace = (int(change * WHITE + 1e-6) for change in (epsilon, step))
    image = _images(model, pictures)
    offset = image.new_zeros(image.shape[1:], dtype=torch.float32)
    if random_start:
        generator = torch.Generator().manual_seed(seed)
        offset += torch.randint(-radius, radius + 1, offset.shape, generator=generator).to(offset)
    parts = [
        _fooled(model, part, index, radius, pace, steps, probability, offset) for part in torch.split(image, AT_ONCE)
    ]
    return Fooled(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _fooled(
    model: Model, image: Tensor, index: int, radius: int, pace: int, steps: int, probability: float, offset: Tensor
) -> tuple[Tensor, ...]:
    """The fields of Fooled."""
    levels_of, image_of = _conversions(model.preprocess, image)

    def chance(output: Any) -> Tensor:
        return class_(index)(probabilities(logits(output), multi_label=model.multi_label))[:, 0]

    def score(output: Any) -> Tensor:
        values = wide(logits(output))
        return class_(index)(values if model.multi_label else values.log_softmax(1))[:, 0]

    original = levels_of(image)
    before = chance(engine.answered(model.module, image_of(original)))
    low, high = (original - radius).clamp(min=0), (original + radius).clamp(max=WHITE)
    changed, taken = engine.attacked(
        model.module, (original + offset).clamp(low, high), low, high, image_of, score,
        lambda output: chance(output) > probability, step=pace, steps=steps,
    )  # fmt: skip
    found = image_of(changed)
    after = chance(engine.answered(model.module, found))
    return found, before, after, taken, (changed - original).abs().flatten(1).amax(1)


def _images(model: Model, pictures: PictureLike | list[PictureLike] | Tensor) -> Tensor:
    if not isinstance(pictures, Tensor):
        each = pictures if isinstance(pictures, list) else [pictures]
        if not each:
            raise PictureError("an empty list of pictures was given; give one at least")
        pictures = torch.stack([model.preprocess(read_picture(picture)) for picture in each])
    channels = len(model.preprocess.mean)
    if not pictures.is_floating_point() or pictures.ndim != 4 or pictures.shape[1] != channels or not len(pictures):
        raise ModelError(
            f"normalised float images (N, {channels}, H, W) are expected, got {pictures.dtype} {tuple(pictures.shape)}"
        )
    return pictures.to(model.like)


def _conversions(preprocess: Preprocess, like: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """From images to 8-bit levels, whole numbers in float32, which holds them exactly; and back."""

    def channels(values: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = (torch.tensor(each, device=values.device) for each in (preprocess.mean, preprocess.std))
        return mean.view(-1, 1, 1), std.view(-1, 1, 1)

    def levels_of(image: Tensor) -> Tensor:
        mean, std = channels(image)
        return ((image.float() * std + mean) * WHITE).round().clamp(0, WHITE)

    def image_of(levels: Tensor) -> Tensor:
        mean, std = channels(levels)
        return ((levels / WHITE - mean) / std).to(like)

    return levels_of, image_of
