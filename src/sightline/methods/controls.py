"""Controls: maps that explain nothing, which an explanation has to beat in every table.

Noise knows neither model nor image; the even map and the centre know where objects are on average;
edges know the image but no model, and look like an explanation all the same (Adebayo et al., *Sanity
Checks for Saliency Maps*, 2018, arXiv 1810.03292). Blurred noise is there for metrics that reward
what is blurry whatever it says, as ROAD does. None depends on the class, the layer or the weights:
each costs a pass only to know how many classes were asked about.
"""

import zlib
from collections.abc import Callable

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import conv2d, pad

from sightline.errors import MethodError
from sightline.types import Kind, Maps, Method, Questions

LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601


def random(ask: Questions, *, generator: torch.Generator) -> Maps:
    """Noise, 0 to 1, even and independent from pixel to pixel."""
    return _same(ask, torch.stack([noise(image, generator) for image in ask.image]))


def random_blurred(ask: Questions, *, generator: torch.Generator, blur: float = 0.05) -> Maps:
    """The noise of `random` after a Gaussian of `blur` times the longer side, stretched to 0 to 1."""
    if not blur > 0:
        raise MethodError(f"blur is a share of the longer side, above 0, got {blur}; leave it out for 0.05")
    sigma = blur * max(ask.image.shape[2:])
    drawn = [gaussian_filter(noise(image, generator).double().numpy(), sigma) for image in ask.image]
    stretched = [torch.from_numpy((each - each.min()) / ((each.max() - each.min()) or 1)) for each in drawn]
    return _same(ask, torch.stack(stretched))


def uniform(ask: Questions) -> Maps:
    """1 everywhere."""
    return _same(ask, torch.ones(len(ask.image), *ask.image.shape[2:]))


def centre(ask: Questions, *, spread: float = 0.25) -> Maps:
    """A Gaussian around the image's centre, of `spread` times each side."""
    if not spread > 0:
        raise MethodError(f"spread is a share of each side, above 0, got {spread}; leave it out for 0.25")
    squared = torch.zeros(())
    for side in ask.image.shape[2:]:
        squared = squared[..., None] + ((torch.arange(side) + 0.5) / side - 0.5) ** 2
    return _same(ask, (-squared / (2 * spread**2)).exp().expand(len(ask.image), *squared.shape))


def edges(ask: Questions) -> Maps:
    """The size of the image's gradient, by Sobel's filter, in its luminance; other than three channels count evenly."""
    image = ask.image.float()
    channels = image.shape[1]
    weights = image.new_tensor(LUMINANCE if channels == 3 else [1 / channels] * channels)
    grey = torch.einsum("nchw,c->nhw", image, weights)
    across = image.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    filters = torch.stack([across, across.T])[:, None]
    slopes = conv2d(pad(grey[:, None], (1, 1, 1, 1), mode="replicate"), filters)
    return _same(ask, slopes.square().sum(1).sqrt())


def noise(image: Tensor, generator: torch.Generator) -> Tensor:
    """Noise (H, W), 0 to 1, that belongs to this image (C, H, W) and the generator's seed, whatever else is asked."""
    pixels = image.detach().float().cpu().contiguous().numpy().tobytes()
    own = torch.Generator().manual_seed(zlib.crc32(pixels, zlib.crc32(str(generator.initial_seed()).encode())))
    return torch.rand(image.shape[1:], generator=own)


def _same(ask: Questions, maps: Tensor) -> Maps:
    """Maps (N, H, W) -> (N, K, H, W), the same for each of an image's classes."""
    n, k = ask.scores.shape
    return maps.to(ask.image.device, torch.float32)[:, None].expand(n, k, *maps.shape[1:])


def _control(name: str, rule: Callable[..., Maps], idea: str, *, planar: bool = False) -> Method:
    return Method(
        name, rule, "a control", idea, kind=Kind.ASKING, discriminative=False, layered=False, planar=planar,
        backwards="0",
    )  # fmt: skip


CONTROLS = (
    _control("random", random, "noise"),
    _control("random-blurred", random_blurred, "blurred noise"),
    _control("uniform", uniform, "the same everywhere"),
    _control("centre", centre, "the middle of the image, whatever is there"),
    _control("edges", edges, "where the image changes, whatever the model", planar=True),
)
