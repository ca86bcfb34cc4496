"""What is assumed of a model that a file holds without a word on pictures, and what one look at its answers tells."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sightline.engine import Adapted, Caller, OneByOne, answered
from sightline.errors import ModelError, first_line
from sightline.model import Model, Task
from sightline.preprocess import Preprocess
from sightline.targets import Labels, logits

ASSUMED = "assumed ImageNet's preprocessing"
IMAGENETS = 1000  # classes
USUAL = 224  # pixels
SAME = 1e-3  # answers one by one and together may differ by rounding, as a share of the largest

Size = tuple[int | None, int | None, int | None]
"""Channels, height and width of the image that a model takes, None where it takes any."""


def plain(module: nn.Module, image: Tensor) -> Any:
    return module(image)


def opened(
    module: nn.Module,
    name: str,
    source: str,
    size: Size = (None, None, None),
    *,
    batch: int | None = None,
    adapted: Callable[[nn.Module, Caller], Adapted] = Adapted,
    call: Caller = plain,
) -> Model:
    """A model of which only the image's size is known, if that.

    ImageNet's preprocessing is assumed (one channel: from 0 to 1), and the note says so; its class names where there
    are a thousand. Whether it takes any number of images at once, whatever `batch` it was saved for, is tried: a net
    that takes only one is asked about one after the other. Raises ModelError where it fails on an image of its own
    size, or takes nothing but several at once.
    """
    preprocess = assumed(size, name)
    height, width = preprocess.size
    drawn = torch.Generator().manual_seed(0)
    images = torch.rand(max(2, batch or 1), len(preprocess.mean), height, width, generator=drawn)
    model = Model(
        module=adapted(module, call),
        name=name,
        source=source,
        preprocess=preprocess,
        note=(
            f"{ASSUMED} ({height} x {width} px, centre crop) for {name}; change it with --size, --fit, --mean, --std"
        ),
    )
    module.eval()
    images = images.to(model.like)
    try:
        alone = torch.cat([logits(answered(model.module, image[None])) for image in images])
    except Exception as error:  # other libraries' layers raise errors of many kinds
        if None not in size and batch in (None, 1):
            raise ModelError(f"{name} fails on an image of its own size: {first_line(error)}") from error
        alone = torch.empty(0)
    if not alone.numel() or not _same_together(model.module, images, alone):
        if batch not in (None, 1):
            raise ModelError(
                f"{name} was saved for {batch} images at a time, no more and no fewer; save it for one or any number"
            )
        model = replace(model, module=OneByOne(module, call)) if alone.numel() else model  # else another size may do
    if alone.ndim == 2 and alone.shape[1] == IMAGENETS:
        model = replace(model, labels=imagenets_labels(), note=f"{model.note}; and ImageNet's names of its classes")
    return replace(model, task=Task.REGIONS) if alone.ndim == 4 else model


def assumed(size: Size, name: str) -> Preprocess:
    """ImageNet's preprocessing for an image of this size. Raises ModelError for channels that no picture has."""
    channels, height, width = size
    if channels not in (None, 1, 3):
        raise ModelError(f"{name} takes images of {channels} channels; pictures have 3, or 1 in grey")
    pixels = (height or width or USUAL, width or height or USUAL)
    preprocess = Preprocess(size=pixels, resize=round(min(pixels) * 256 / USUAL))
    return replace(preprocess, mean=(0.0,), std=(1.0,)) if channels == 1 else preprocess


def imagenets_labels() -> Labels:
    """ImageNet's thousand names, in the order that every library keeps; none where torchvision can't be imported."""
    from sightline.sources import torchvision

    try:
        return torchvision.imagenets_labels()
    except ModelError:
        return Labels(())


def _same_together(module: nn.Module, images: Tensor, alone: Tensor) -> bool:
    try:
        found = logits(answered(module, images))
    except ModelError:
        return False
    return found.shape == alone.shape and bool((found - alone).abs().max() <= SAME * alone.abs().max())
