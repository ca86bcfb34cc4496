"""Segmentation seeds: maps of several classes -> one index for each pixel, 0 the background.

As IRN takes them (Ahn et al., CVPR 2019, arXiv 1904.05044, and its code): each class's map is divided by its own
maximum, the background scores a constant 0.15, and the highest score has the pixel. There a small number keeps an
empty map from being 0/0; here such a map marks nothing.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from sightline.methods.superpixels import needed
from sightline.regions import Heat, Mask

Index = NDArray[np.intp]
Cells = NDArray[np.integer]

BY = ("scores", "votes")
"""What a superpixel is given its class by: see `refined`."""


def seeds(heats: Mapping[str, Heat], background: float = 0.15) -> Index:
    """For each pixel (height, width) the place, from 1, of the class whose map is highest there; 0 where none is.

    `background` (0 to 1) is the score that a class, as a share of its own maximum, must exceed; of equal
    classes the first has the pixel. Where a map is NaN, the model could not look, it marks nothing.
    Raises ValueError without maps, or for another background.
    """
    places, scores = winners(heats)
    return above(places, scores, background)


def winners(heats: Mapping[str, Heat]) -> tuple[Index, Heat]:
    """For each pixel the place, from 1, of the class that is highest, and its share of its own maximum."""
    return _winners(_shares(heats))


def above(places: Index, scores: Heat, background: float) -> Index:
    """The places whose score is above the background's, 0 elsewhere."""
    if not 0 <= background <= 1:
        raise ValueError(f"background {background} isn't between 0 and 1")
    return np.where(scores > background, places, 0)


def refined(
    heats: Mapping[str, Heat], picture: Image, background: float = 0.15, *, by: str = "scores", segments: int = 500
) -> Index:
    """Seeds that follow the picture's edges: each of its superpixels, about `segments`, has one class.

    By `scores`, each class's score is averaged over the superpixel before the highest has it; by `votes`, the
    class of most of its seeds has it, of equals the background or else the first. Pixels that the model could
    not see count neither way, and stay background. Raises MethodError without scikit-image, else as `seeds`.
    """
    if by not in BY:
        raise ValueError(f"superpixels can't be refined by {by!r}; choose one of {', '.join(BY)}")
    shares, cells = _shares(heats), superpixels(picture, segments)
    seen = np.asarray(~np.isnan(np.stack(list(heats.values()))).any(0))
    if by == "scores":
        index = above(*_winners(_means(shares, cells, seen)), background)
    else:
        single = above(*_winners(shares), background)
        votes = np.stack([single == place for place in range(len(heats) + 1)])
        index = _means(votes, cells, seen).argmax(0)
    return np.where(seen, index, 0)


def superpixels(picture: Image, segments: int = 500) -> Cells:
    """Labels (height, width) from 0 of about so many superpixels, by SLIC. Raises MethodError without scikit-image."""
    slic = needed("skimage.segmentation").slic
    labels: Cells = slic(np.asarray(picture.convert("RGB")), n_segments=segments, start_label=0)
    return labels


def _shares(heats: Mapping[str, Heat]) -> Heat:
    """Each class's map (K, height, width) as a share of its maximum, 0 where it is below zero or NaN."""
    if not heats:
        raise ValueError("seeds of no maps were asked for; give one map for each class")
    positive = np.nan_to_num(np.stack(list(heats.values())), nan=0.0).clip(0)
    highest = positive.max((1, 2), keepdims=True)
    return np.asarray(np.divide(positive, highest, out=np.zeros_like(positive), where=highest > 0))


def _winners(shares: Heat) -> tuple[Index, Heat]:
    return shares.argmax(0) + 1, shares.max(0)


def _means(values: Heat | NDArray[np.bool_], cells: Cells, seen: Mask) -> Heat:
    """The mean of each map (K, height, width) over the seen pixels of each cell, at each of its pixels."""
    counts = np.bincount(cells[seen], minlength=int(cells.max()) + 1)
    sums = [np.bincount(cells[seen], each[seen], minlength=len(counts)) for each in values]
    return np.stack([(each / counts.clip(1))[cells] for each in sums])
