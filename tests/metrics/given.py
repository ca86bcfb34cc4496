"""A trial whose heat is the map itself, NaN where it has NaN; and maps of one pixel."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from toys import Toy

from sightline.trials import Truth


class Given(Toy):
    @property
    def heat(self) -> Any:
        return np.asarray(self.raw)


def given(raw: Tensor, truth: Truth | None = None, **facts: Any) -> Given:
    """A trial with an image of the map's size."""
    return Given(raw, truth, image=torch.zeros(3, *raw.shape), **facts)


def dot(x: int, y: int, width: int = 60, height: int = 50, value: float = 1.0) -> Tensor:
    raw = torch.zeros(height, width)
    raw[y, x] = value
    return raw


def box(*sides: float, **facts: Any) -> Truth:
    return Truth("thing", (sides,), **facts)  # type: ignore[arg-type]
