"""Framing: where the image that the model sees lies in the picture that a person sees, and back.

Coordinates are in pixels, x to the right and y down, with pixel i covering [i, i + 1). A box is
(x0, y0, x1, y1) with x1 and y1 exclusive.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """The image of `image` (width, height) pixels spans the rectangle `seen` of the picture, in picture pixels.

    `seen` lies inside the picture after a crop, reaches outside after padding, and is the whole
    picture after a plain resize.
    """

    picture: tuple[int, int]
    image: tuple[int, int]
    seen: Box

    @classmethod
    def whole(cls, picture: tuple[int, int], image: tuple[int, int] | None = None) -> Self:
        """The picture resized as a whole, its aspect changed where it must be."""
        width, height = picture
        return cls(picture=picture, image=image or picture, seen=(0.0, 0.0, float(width), float(height)))

    @classmethod
    def cropped(
        cls, picture: tuple[int, int], resized: tuple[int, int], offset: tuple[int, int], image: tuple[int, int]
    ) -> Self:
        """The picture resized to `resized`, of which `image` pixels are kept from `offset` (x, y) on.

        A negative offset, or an image larger than `resized`, is padding.
        """
        across, down = picture[0] / resized[0], picture[1] / resized[1]
        left, top = offset
        seen = (left * across, top * down, (left + image[0]) * across, (top + image[1]) * down)
        return cls(picture=picture, image=image, seen=seen)

    def to_picture(self, maps: Tensor) -> Tensor:
        """Maps (..., h, w) at any resolution -> (..., height, width) in the picture's pixels, bilinear, float32.

        A map's cells tile the image evenly, as in `interpolate(..., align_corners=False)`. What the
        model could not see is NaN.
        """
        width, height = self.picture
        x0, y0, x1, y1 = self.seen
        rows = _sampled(height, y0, y1, maps.shape[-2]).to(maps.device)
        columns = _sampled(width, x0, x1, maps.shape[-1]).to(maps.device)
        return rows @ maps.float() @ columns.T

    def to_image(self, mask: Tensor) -> Tensor:
        """A mask (height, width) of the picture -> (H, W) of the image, nearest pixels; padding is outside it."""
        width, height = self.image
        x0, y0, x1, y1 = self.seen
        columns = (x0 + (torch.arange(width) + 0.5) * (x1 - x0) / width).floor().long()
        rows = (y0 + (torch.arange(height) + 0.5) * (y1 - y0) / height).floor().long()
        inside = _within(rows, self.picture[1])[:, None] & _within(columns, self.picture[0])
        return mask[rows.clamp(0, self.picture[1] - 1)][:, columns.clamp(0, self.picture[0] - 1)] & inside

    def point_in_picture(self, x: float, y: float) -> tuple[float, float]:
        """A point of the image -> the same point of the picture."""
        x0, y0, x1, y1 = self.seen
        return x0 + x * (x1 - x0) / self.image[0], y0 + y * (y1 - y0) / self.image[1]

    def point_in_image(self, x: float, y: float) -> tuple[float, float]:
        """A point of the picture -> the same point of the image (outside it where the model could not see)."""
        x0, y0, x1, y1 = self.seen
        return (x - x0) * self.image[0] / (x1 - x0), (y - y0) * self.image[1] / (y1 - y0)


def _within(places: Tensor, size: int) -> Tensor:
    return (places >= 0) & (places < size)


def _sampled(pixels: int, start: float, end: float, cells: int) -> Tensor:
    """(pixels, cells) bilinear weights of `cells` cells spread over [start, end), at each pixel's centre."""
    centres = (torch.arange(pixels, dtype=torch.float64) + 0.5 - start) / (end - start)
    position = (centres * cells - 0.5).clamp(0, cells - 1)
    left = position.floor().long().clamp(max=max(cells - 2, 0))
    share = position - left
    weights = torch.zeros(pixels, cells, dtype=torch.float64)
    weights.scatter_(1, left[:, None], (1 - share)[:, None])
    if cells > 1:
        weights.scatter_(1, left[:, None] + 1, share[:, None])
    weights[(centres < 0) | (centres >= 1)] = torch.nan
    return weights.float()
