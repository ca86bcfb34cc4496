"""Reading for a run: places of a data set -> images as the model sees them, and what is known of their pictures."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sightline.datasets.files import Files
from sightline.errors import SightlineError, first_line
from sightline.geometry import Framing
from sightline.images import read_picture, size_of
from sightline.preprocess import Preprocess
from sightline.trials import DataSet

LONGEST = 512  # pixels, of an overlay

Size = tuple[int, int]  # (width, height)


@dataclass(frozen=True, eq=False)
class Read:
    """What is known of a picture; its `size` is the stored one, whatever it was decoded to.

    `error` is why it has no image. `small` is the size of its small picture, if it has one.
    """

    place: int
    name: str
    content: str | None = None
    size: Size | None = None
    labels: tuple[str, ...] | None = None
    about: Mapping[str, str] | None = None
    framing: Framing | None = None
    small: Size | None = None
    error: str | None = None


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures of one part, in order. `images` (n, C, H, W) are of those without an error, None where all have one.

    `pixels` are the small pictures one behind the other; both are tensors, which processes hand over without a copy.
    """

    part: int
    pictures: tuple[Read, ...]
    images: Tensor | None = field(repr=False)
    pixels: Tensor | None = field(repr=False)

    def pin_memory(self) -> "Batch":
        """The same batch where a GPU can fetch its images by itself."""
        return self if self.images is None else replace(self, images=self.images.pin_memory())

    @property
    def seen(self) -> list[Read]:
        """The pictures without an error, as `images` has them."""
        return [read for read in self.pictures if read.error is None]

    def small(self) -> dict[int, Image.Image]:
        """The small pictures, by place."""
        found, start = {}, 0
        for read in self.pictures:
            if read.small is not None and self.pixels is not None:
                width, height = read.small
                end = start + 3 * width * height
                found[read.place] = Image.fromarray(self.pixels[start:end].view(height, width, 3).numpy())
                start = end
        return found


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads places of a data set for a model; with `overlays` it keeps each picture too, small.

    A JPEG file much larger than the model's image is decoded smaller, which takes less time and changes what the
    model sees by a few of 256 levels at most (see `images.read_picture`).
    """

    data: DataSet = field(repr=False)
    preprocess: Preprocess
    overlays: bool

    def __call__(self, part: int, places: Sequence[int]) -> Batch:
        """The pictures at some places of a part; one that can't be read has an error."""
        every = [self._read(place) for place in places]
        images = [image for _, image, _ in every if image is not None]
        pixels = [small for _, _, small in every if small is not None]
        return Batch(
            part,
            tuple(read for read, _, _ in every),
            torch.stack(images) if images else None,
            torch.cat(pixels) if pixels else None,
        )

    def _read(self, place: int) -> tuple[Read, Tensor | None, Tensor | None]:
        known: dict[str, Any] = {"place": place, "name": self.data.names[place]}
        try:
            picture = self._opened(place, known)
            known["framing"] = self.preprocess.framing(known["size"])
            image = self.preprocess(picture, known["size"])
            if not self.overlays:
                return Read(**known), image, None
            known["small"] = _at_most(known["size"])
            small = picture.resize(known["small"], Image.Resampling.BILINEAR)
            return Read(**known), image, torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8)
        except (SightlineError, OSError) as error:
            return Read(**known | {"error": first_line(error)}), None, None
        except MemoryError:
            return Read(**known | {"error": "there isn't enough memory to read it"}), None, None

    def _opened(self, place: int, known: dict[str, Any]) -> Image.Image:
        """The picture, no larger than it is needed; what is found on the way becomes known."""
        if isinstance(self.data, Files):
            file = self.data.entries[known["name"]]
            known |= {"labels": tuple(file.labels), "about": file.about}
            data = file.read()
            known["content"] = hashlib.sha256(data).hexdigest()
            known["size"] = size_of(data, name=known["name"])
            return read_picture(data, name=known["name"], least=self._least(known["size"]))
        sample = self.data[place]
        known |= {"labels": tuple(truth.label for truth in sample.truths), "about": sample.about}
        known["content"] = hashlib.sha256(sample.picture.tobytes()).hexdigest()
        known["size"] = sample.picture.size
        return sample.picture

    def _least(self, size: Size) -> Size:
        """The size below which the picture isn't needed."""
        wide, high = self.preprocess.resized(size)
        across, down = _at_most(size) if self.overlays else (1, 1)
        return max(wide, across), max(high, down)


def _at_most(size: Size) -> Size:
    scale = min(1.0, LONGEST / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
