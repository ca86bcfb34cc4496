"""Preprocessing: picture -> normalised image, and the framing that tells where the image lies in the picture."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sightline.errors import ModelError, PictureError
from sightline.geometry import Framing

Fit = Literal["crop", "squash", "pad"]
Pixels = tuple[int, int]  # (height, width)

MOST_PIXELS = 100_000_000

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a model wants its images: `size` (height, width) pixels, channels (x / 255 - mean) / std.

    `fit` says how the picture gets there: `crop` brings its shorter side to `resize` pixels (or the whole to `resize`
    (height, width), as models of clips do) and keeps the centre, `squash` stretches it to `size`, `pad` fits it
    inside and fills with the mean.
    A picture that has the size already is taken as it is: cropping it would only hide its border.
    """

    size: Pixels = (224, 224)
    fit: Fit = "crop"
    resize: int | Pixels = 256
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if not isinstance(self.size, tuple | list) or len(self.size) != 2 or min(self.size) < 1:
            raise ModelError(f"size {self.size!r} can't be used; expected (height, width) in pixels, as (224, 224)")
        if self.fit not in ("crop", "squash", "pad"):
            raise ModelError(f"no way {self.fit!r} to fit a picture; choose crop, squash or pad")
        if self.interpolation not in _RESAMPLING:
            raise ModelError(f"no interpolation {self.interpolation!r}; choose {', '.join(_RESAMPLING)}")
        if len(self.mean) not in (1, 3) or len(self.mean) != len(self.std):
            raise ModelError(f"mean {self.mean} and std {self.std} must have one or three channels each")
        if min(self.std) <= 0:
            raise ModelError(f"std {self.std} must be above zero: images are divided by it")

    def framing(self, picture: tuple[int, int]) -> Framing:
        """Where the image lies in a picture of (width, height) pixels.

        Raises PictureError for a picture so long that its resized self would be huge.
        """
        resized = self.resized(picture)
        height, width = self.size
        offset = (self._before(resized[0] - width), self._before(resized[1] - height))
        return Framing.cropped(picture, resized, offset, (width, height))

    def __call__(self, picture: Image.Image, stored: tuple[int, int] | None = None) -> Tensor:
        """An RGB picture -> the image (channels, height, width), float32.

        `stored` is the size (width, height) of the picture's file, where the picture was decoded smaller than that.
        """
        resized = self.resized(stored or picture.size)
        height, width = self.size
        left, top = self._before(resized[0] - width), self._before(resized[1] - height)
        pixels = picture.convert("L" if len(self.mean) == 1 else "RGB")
        if resized != picture.size:
            pixels = pixels.resize(resized, _RESAMPLING[self.interpolation])
        values = np.asarray(pixels, dtype=np.float32).reshape(resized[1], resized[0], -1) / 255
        values = (values - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        image = np.zeros((height, width, values.shape[2]), np.float32)
        kept = values[max(top, 0) : max(top, 0) + height, max(left, 0) : max(left, 0) + width]
        down, right = max(-top, 0), max(-left, 0)
        image[down : down + kept.shape[0], right : right + kept.shape[1]] = kept
        return torch.from_numpy(image).permute(2, 0, 1).contiguous()

    def shown(self, image: Tensor) -> Image.Image:
        """An image (channels, height, width) -> the RGB picture that it would be made from."""
        mean, std = (torch.tensor(v, device=image.device).view(-1, 1, 1) for v in (self.mean, self.std))
        pixels = ((image.detach().float() * std + mean).clamp(0, 1) * 255).round().byte().cpu()
        return Image.fromarray(pixels.permute(1, 2, 0).expand(-1, -1, 3).contiguous().numpy())

    def resized(self, picture: tuple[int, int]) -> tuple[int, int]:
        """The size (width, height) that a picture is brought to before its centre is kept, or its sides are filled.

        Raises PictureError as `framing` does.
        """
        height, width = self.size
        if self.fit == "squash" or picture == (width, height):
            return width, height
        across, down = picture
        if self.fit == "pad":
            scale = min(width / across, height / down)
            return max(1, min(width, round(across * scale))), max(1, min(height, round(down * scale)))
        if not isinstance(self.resize, int):
            return self.resize[1], self.resize[0]
        short = min(across, down)
        resized = self.resize * across // short, self.resize * down // short  # rounded down, as torchvision does
        if resized[0] * resized[1] > MOST_PIXELS:
            raise PictureError(
                f"a picture of {across} x {down} pixels would grow to {resized[0]} x {resized[1]} before its centre is "
                "cropped; fit it with pad or squash"
            )
        return resized

    def _before(self, excess: int) -> int:
        """The offset that centres, rounded as torchvision's CenterCrop and pad do."""
        return round(excess / 2) if excess >= 0 else -(-excess // 2)
