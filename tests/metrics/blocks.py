"""A picture made of blocks that can be taken away, and a model that only counts them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from given import Given
from PIL import Image
from torch import Tensor

from sightline.regions import Mask

PARTS = ("a", "b", "c", "d", "e")
THINGS = ("x", "y")
CELL, HEIGHT = 8, 8  # a block is the 2 x 2 pixels in the middle of its cell, so that windows don't meet
PLAIN = {
    "own": dict.fromkeys(PARTS, "1"),
    "near ab": {"a": "1", "b": "1", "c": "2", "d": "2", "e": "2"},
    "near bc": {"a": "2", "b": "1", "c": "1", "d": "3", "e": "3"},
    "near cd": {"a": "3", "b": "3", "c": "1", "d": "1", "e": "4"},
    "far": {"a": "1", "b": "4", "c": "4", "d": "4", "e": "4"},
}


class Blocks:
    """White blocks on black: five parts and two things."""

    def __init__(self, lost: Sequence[str] = (), classes: Mapping[str, Mapping[str, str]] = PLAIN) -> None:
        self.classes = classes
        self.parts: dict[str, Mask] = {}
        for place, name in enumerate((*PARTS, *THINGS)):
            if name not in lost:
                self.parts[name] = np.zeros((HEIGHT, CELL * 7), dtype=bool)
                self.parts[name][3:5, CELL * place + 3 : CELL * place + 5] = True
        self.background = [name for name in THINGS if name not in lost]
        self.asked: list[frozenset[str]] = []

    def without(self, parts: Sequence[str]) -> Image.Image:
        self.asked.append(frozenset(parts))
        shown = np.zeros((HEIGHT, CELL * 7), dtype=np.uint8)
        for name, mask in self.parts.items():
            if name not in parts:
                shown[mask] = 255
        return Image.fromarray(shown).convert("RGB")


def counting(weights: Mapping[str, Mapping[str, float]], bias: float = 0.0) -> Callable[[Tensor], Tensor]:
    """Logits of the classes, in order: the sum of each one's weights of the blocks that are there."""
    table = torch.tensor([[weights[label].get(name, 0.0) for name in (*PARTS, *THINGS)] for label in weights])

    def module(images: Tensor) -> Tensor:
        there = torch.stack([images[:, 0, 3, CELL * place + 3] for place in range(len(PARTS + THINGS))], 1)
        return there @ table.T + bias

    return module


def spread(**values: float) -> Tensor:
    """A map (HEIGHT, CELL * 7) with this in a block's upper left pixel, and 0 elsewhere."""
    raw = torch.zeros(HEIGHT, CELL * 7)
    for name, value in values.items():
        raw[3, CELL * (*PARTS, *THINGS).index(name) + 3] = value
    return raw


def blocks(raw: Tensor, weights: Mapping[str, Mapping[str, float]], **facts: Any) -> Given:
    """A trial of the first class of `weights`."""
    facts = {"label": next(iter(weights)), "parted": Blocks()} | facts
    return Given(raw, image=torch.zeros(3, *raw.shape), module=counting(weights), **facts)
