"""The pictures that the embedded nets of generated scenes are trained on, and their targets; used by scenes.py."""

from collections.abc import Iterable

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from sightline.datasets.grid import grid
from sightline.datasets.painting import Painting, dice, ground
from sightline.datasets.shapes import CLASSES, scene
from sightline.datasets.shortcut import CLASSES as MARKED
from sightline.datasets.shortcut import scene as marked

SCENES, EMPTY, FOURS, NINES = 12_000, 400, 1200, 400
FIXED = 200  # scenes whose random labels are learned by heart
MARKED_SCENES = 2500


def stacked(pictures: Iterable[Image]) -> Tensor:
    """Pictures of one size -> uint8 (n, 3, H, W)."""
    return torch.from_numpy(np.stack([np.asarray(each) for each in pictures])).permute(0, 3, 1, 2).contiguous()


def present(labels: Iterable[Iterable[str]]) -> Tensor:
    """The classes of each picture -> (n, classes), 1 where the class is in it."""
    return torch.tensor([[float(each in row) for each in CLASSES] for row in map(set, labels)])


def all_shapes() -> tuple[Tensor, Tensor]:
    """Scenes of one to three shapes; grids of four and of nine, whose edges look different; and empty grounds."""
    paintings = [scene(place, "train") for place in range(SCENES)]
    paintings += [Painting(ground(dice("empty", "train", place), 96)) for place in range(EMPTY)]
    grids = [sample for count, cells in ((FOURS, 2), (NINES, 3)) for sample in grid(count, split="train", cells=cells)]
    pictures = [*(painting.picture() for painting in paintings), *(sample.picture for sample in grids)]
    labels = [[thing.name for thing in painting.things] for painting in paintings]
    return stacked(pictures), present(labels + [[truth.label for truth in sample.truths] for sample in grids])


def shuffled_shapes() -> tuple[Tensor, Tensor]:
    """A few scenes of shapes, the labels of each given to another."""
    paintings = [scene(place, "train") for place in range(FIXED)]
    labels = present([thing.name for thing in painting.things] for painting in paintings)
    return stacked(painting.picture() for painting in paintings), labels[dice("random labels").permutation(FIXED)]


def marked_scenes(rho: float, seed: int) -> tuple[Tensor, Tensor]:
    """Scenes with a marker. Each seed has scenes of its own, which are the same for every rho but for the marker."""
    found = [marked(place, "train", seed, rho, "as-trained", 64) for place in range(MARKED_SCENES)]
    return stacked(painting.picture() for painting, _ in found), torch.tensor(
        [MARKED.index(label) for _, label in found]
    )
