"""Hiding: does what a map points at tell? A region is hidden in each picture, and the model is asked again.

The hidden pixels are filled with what their neighbours say (linear imputation, as ROAD fills: Rong et al., arXiv
2202.00449), the smoothest filling there is: an even colour would draw the region's outline anew, and the outline of a
hidden face still says that there was a face. Whatever is hidden, something is lost; so in the same picture the same
shape is hidden elsewhere too, inside what the model saw, where it touches neither a region nor the object. Where there
is no such place, as for most large objects, there is nothing to compare with. All of this is ours.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from PIL.Image import Image as Picture
from PIL.Image import fromarray
from torch import Tensor

from sightline.audit.estimates import Draws
from sightline.audit.found import Hidden, Look, Region
from sightline.audit.places import OBJECT, Place
from sightline.engine import answered
from sightline.errors import DataError, ModelError
from sightline.metrics.imputation import imputed
from sightline.model import Model, Task
from sightline.regions import Mask, extent
from sightline.runs.kept import Run
from sightline.targets import logits, probabilities

BATCH = 64  # images in a pass
TRIES = 200  # places that are tried for a shape elsewhere


@dataclass(frozen=True, slots=True)
class Hiding:
    """What became of a look's class where a region was hidden: how far its probability fell, and whether the prediction
    changed; and the same for as large a shape elsewhere, NaN where there was no room for one. `on_object` is how much
    of what was hidden is the object, NaN where that isn't known."""

    look: int
    region: str
    drop: float
    flip: float
    elsewhere_drop: float = math.nan
    elsewhere_flip: float = math.nan
    on_object: float = math.nan

    @property
    def beyond(self) -> float:
        """How much further the probability moved, whichever way, than where elsewhere was hidden."""
        return self.moved - abs(self.elsewhere_drop)

    @property
    def moved(self) -> float:
        """How far the probability moved, whichever way."""
        return abs(self.drop)


@dataclass(frozen=True, slots=True)
class _Question:
    """A hiding to be: the look and its class, and which of the images that wait show what."""

    look: int
    index: int
    region: str
    before: int
    hidden: int
    elsewhere: int | None
    on_object: float


class Hider:
    """Hides the regions of pictures as they come, and asks the model about many at once.

    Raises DataError for another model than the run's, ModelError for one that doesn't tell classes.
    """

    def __init__(self, run: Run, model: Model, seed: int) -> None:
        made = run.question["weights"]
        if model.weights_hash != made:
            raise DataError(
                f"{model.name} has the weights {model.weights_hash}, the run in {run.folder} was made with {made} of "
                f"{run.question['model']}; give the model of the run"
            )
        if model.task is not Task.CLASSES:
            raise ModelError(f"{model.name} gives {model.task}; hiding asks how the probability of a class moves")
        self.model, self.seed = model, seed
        self._found: list[Hiding] = []
        self._images: list[Tensor] = []
        self._questions: list[_Question] = []

    def add(self, place: int, look: Look, picture: Picture, places: Mapping[str, Place | None], seen: Mask) -> None:
        """A look, by its place among all, its picture and the regions in it; `seen` are the pixels the model saw."""
        taken = np.logical_or.reduce([~seen, *(each.mask for each in places.values() if each is not None)])
        before, main = None, places.get(OBJECT)
        for name, each in places.items():
            inside = np.zeros_like(seen) if each is None else each.mask & seen
            if not inside.any() or inside.all():
                continue
            random = np.random.default_rng([self.seed, crc32(f"{name} {look.picture}".encode())])
            before = self._show(picture) if before is None else before
            hidden = self._show(without(picture, inside))
            moved = elsewhere(inside, taken, random)
            other = None if moved is None else self._show(without(picture, moved))
            on_object = math.nan if main is None else float(main.mask[inside].mean())
            self._questions.append(_Question(place, look.index, name, before, hidden, other, on_object))
        if len(self._images) >= BATCH:
            self._ask()

    def done(self) -> list[Hiding]:
        """All that was found, in the order in which it came."""
        if self._questions:
            self._ask()
        return self._found

    def _show(self, picture: Picture) -> int:
        self._images.append(self.model.preprocess(picture))
        return len(self._images) - 1

    def _ask(self) -> None:
        images = torch.stack(self._images).to(self.model.like)
        parts = [logits(answered(self.model.module, part)) for part in torch.split(images, BATCH)]
        chances = probabilities(torch.cat(parts), multi_label=self.model.multi_label).cpu().numpy().astype(np.float64)
        best = chances.argmax(1)
        for each in self._questions:
            told = [
                (
                    float(chances[each.before, each.index] - chances[at, each.index]),
                    float(best[at] != best[each.before]),
                )
                if at is not None
                else (math.nan, math.nan)
                for at in (each.hidden, each.elsewhere)
            ]
            (drop, flip), (other_drop, other_flip) = told
            self._found.append(Hiding(each.look, each.region, drop, flip, other_drop, other_flip, each.on_object))
        self._images, self._questions = [], []


def without(picture: Picture, hidden: Mask) -> Picture:
    """The picture with its hidden pixels (height, width), at least one and not all, filled from around them."""
    found = extent(hidden)
    if found is None:
        return picture
    x0, y0, x1, y1 = found
    rows, columns = slice(max(y0 - 1, 0), y1 + 1), slice(max(x0 - 1, 0), x1 + 1)  # no other pixel tells
    pixels = np.array(picture.convert("RGB"))
    part = torch.from_numpy(pixels[rows, columns].astype(np.float32) / 255).permute(2, 0, 1)
    filled = imputed(part, torch.from_numpy(hidden[rows, columns].copy())).permute(1, 2, 0).numpy()
    pixels[rows, columns] = np.where(
        hidden[rows, columns, None], np.rint(filled * 255).clip(0, 255), pixels[rows, columns]
    )
    return fromarray(pixels)


def elsewhere(region: Mask, taken: Mask, random: np.random.Generator) -> Mask | None:
    """The region's shape moved to where nothing is taken, the first of TRIES places drawn; None where there is none."""
    found = extent(region)
    if found is None:
        return None
    x0, y0, x1, y1 = found
    shape = region[y0:y1, x0:x1]
    height, width = region.shape
    down = random.integers(0, height - (y1 - y0) + 1, TRIES)
    across = random.integers(0, width - (x1 - x0) + 1, TRIES)
    for y, x in zip(down.tolist(), across.tolist(), strict=True):
        if not (taken[y : y + y1 - y0, x : x + x1 - x0] & shape).any():
            moved = np.zeros_like(region)
            moved[y : y + y1 - y0, x : x + x1 - x0] = shape
            return moved
    return None


def hidden(region: Region, hidings: Sequence[Hiding], pictures: Sequence[str], seed: int) -> Hidden:
    """What hiding a region told, of each hiding's picture; of those with room elsewhere, where it is compared."""
    names = ("drop", "flip", "elsewhere_drop", "elsewhere_flip", "beyond", "moved", "on_object")
    columns = [np.array([getattr(each, name) for each in hidings], dtype=np.float64) for name in names]
    return Hidden(region, *Draws(pictures, seed).means(columns))
