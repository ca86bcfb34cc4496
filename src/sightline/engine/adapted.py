"""A model called in another way: it takes the image alone, whatever else its own forward wants.

All that is known of a model stays as it was: its layers keep their names, and it is the model itself
that is borrowed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from sightline.errors import MethodError, ModelError
from sightline.outputs import joined

Caller = Callable[[nn.Module, Tensor], Any]
"""(the model, an image (N, C, ...)) -> its output, or what is read of it."""


class Adapted(nn.Module):
    """The model as `call(model, image)` calls it.

    `call` must use the model that it is given and hold no other, so that a copy with other weights is called alike.
    """

    def __init__(self, module: nn.Module, call: Caller) -> None:
        super().__init__()
        self.module, self.call = module, call
        self.training = False

    def forward(self, image: Tensor) -> Any:
        return self.call(self.module, image)

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """The model's modules under its own names."""
        yield from self.module.named_modules(memo, prefix, remove_duplicate)

    def of(self, images: slice) -> "Adapted":
        """The same as it is asked about some of the images: inputs beside them are those images' own."""
        return Adapted(self.module, self.call.of(images)) if isinstance(self.call, Inputs) else self


class Function(nn.Module):
    """A function from a tensor (N, C, ...) to a tensor or an array, as another runtime's session, in a module's place.

    It has no layers, and gradients only where it is made of torch's operations.
    """

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, image: Tensor) -> Any:
        found = self.function(image)
        return torch.from_numpy(found).to(image.device) if isinstance(found, np.ndarray) else found


class OneByOne(Adapted):
    """A model that takes one image at a time, as one that was written down for one: it is asked once for each.

    Only where nothing is asked of its layers, which would see one image of several. Raises MethodError elsewhere.
    """

    def forward(self, image: Tensor) -> Any:
        if len(image) > 1:
            raise MethodError(
                f"a model that was saved for one image at a time was asked about its layers with {len(image)} at once; "
                "ask about one picture, by grad-cam or by a method of the image such as occlusion"
            )
        return super().forward(image)

    def each(self, images: Tensor) -> Any:
        """The outputs of the images, one pass each."""
        return joined([self(image) for image in torch.split(images, 1)], [1] * len(images))


@dataclass(frozen=True)
class Inputs:
    """A way to call a model: every input fixed but the image, which is its first, or the keyword `image_name`.

    `values` are keyword arguments. A tensor has a row for each image, or one row for all; anything else is passed
    as it is. Where versions of images are asked about, one version of each after the other, each gets its image's rows.
    The model is given copies, which it may overwrite.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    image_name: str | None = None

    def __call__(self, module: nn.Module, image: Tensor) -> Any:
        rows = {name: _spread(name, value, image) for name, value in self.values.items()}
        return module(image, **rows) if self.image_name is None else module(**{self.image_name: image}, **rows)

    def check(self, images: int | None = None) -> Self:
        """The same, for so many images, or for any number of them, one by one.

        Raises ModelError for an input that has other rows, or no name.
        """
        if not isinstance(self.values, Mapping) or not all(isinstance(name, str) for name in self.values):
            raise ModelError(f"inputs are a mapping from names to values, got {type(self.values).__name__}")
        for name, value in self.values.items():
            if isinstance(value, Tensor) and value.ndim and len(value) not in (1, images):
                if images is None:
                    raise ModelError(
                        f"input {name!r} has {len(value)} rows, and any picture may be asked about; give it one row. "
                        "Rows for each image go with sightline.maps(..., inputs=); what has no rows, with call="
                    )
                raise ModelError(
                    f"input {name!r} has {len(value)} rows for {images} image{'s' * (images != 1)}; give it one row, "
                    "or one for each image; what has no rows is given by a function: sightline.wrap(..., call=)"
                )
        return self

    def of(self, images: slice) -> Self:
        rows = {name: value[images] if _has_rows(value) else value for name, value in self.values.items()}
        return replace(self, values=rows)


def _has_rows(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) > 1


def _spread(name: str, value: Any, image: Tensor) -> Any:
    if not isinstance(value, Tensor):
        return value
    value = value.to(image.device, image.dtype if value.is_floating_point() else None)
    if not value.ndim or len(value) == len(image):
        return value.clone()
    if len(value) > len(image):
        return value[: len(image)].clone()  # a layer is looked for with the first image alone
    if len(image) % len(value):
        raise ModelError(f"input {name!r} has {len(value)} rows, and {len(image)} images are asked about")
    return value.repeat(len(image) // len(value), *[1] * (value.ndim - 1))


def of_images(model: nn.Module, images: slice) -> nn.Module:
    """The model as it is asked about some of the images."""
    return model.of(images) if isinstance(model, Adapted) else model
