"""A trial: one map of one class in one picture, with what is known to be true and what a metric may ask.

Truths are in the picture's own pixels; x to the right, y down, box ends exclusive.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor
from torch.nn.functional import interpolate

from sightline.errors import MetricError
from sightline.geometry import Box, Framing
from sightline.regions import Heat, Mask

Values = NDArray[np.float64]  # (trials, numbers of each)
Total = Callable[[Values, Sequence[str]], float]
"""Of all trials' numbers and their classes: the figure of a data set."""
Curve = Callable[[Values, Sequence[str]], NDArray[np.float64]]


class Known(StrEnum):
    """What a data set says about the classes in its pictures; masks give boxes too."""

    CLASSES = "classes"
    BOXES = "boxes"
    MASKS = "masks"
    PARTS = "removable parts"


@dataclass(frozen=True)
class Truth:
    """One class that is in a picture: where its instances are, as boxes, and as one mask where there is one.

    `mask` (height, width) is the union of all instances; `ignore` are pixels that count neither way.
    `difficult` where every instance is marked so.
    """

    label: str
    boxes: tuple[Box, ...] = ()
    mask: Mask | None = field(default=None, repr=False)
    ignore: Mask | None = field(default=None, repr=False)
    difficult: bool = False

    def region(self, size: tuple[int, int]) -> Mask:
        """The mask (height, width), or the union of the boxes in a picture of `size` (width, height).

        A pixel is in a box where its centre is.
        """
        if self.mask is not None:
            return self.mask
        width, height = size
        found = np.zeros((height, width), dtype=bool)
        xs, ys = np.arange(width) + 0.5, np.arange(height) + 0.5
        for x0, y0, x1, y1 in self.boxes:
            found |= ((ys >= y0) & (ys < y1))[:, None] & ((xs >= x0) & (xs < x1))
        return found


class Parted(Protocol):
    """A generated picture whose parts can be taken away."""

    @property
    def parts(self) -> Mapping[str, Mask]:
        """Each part's pixels (height, width), those of things in the background too."""
        ...

    @property
    def background(self) -> Sequence[str]:
        """The parts that are no part of the creature."""
        ...

    def without(self, parts: Sequence[str]) -> Image:
        """The same picture drawn again without some of its parts."""
        ...


@dataclass(frozen=True)
class Sample:
    """One picture of a data set and the classes that are in it.

    `about` is what else the data set says of it, as text: a table's other columns, say.
    """

    name: str
    picture: Image = field(repr=False)
    truths: tuple[Truth, ...]
    parted: Parted | None = field(default=None, repr=False)
    about: Mapping[str, str] = field(default_factory=dict)


class DataSet(Protocol):
    """Pictures with truths, read one at a time.

    `names` are unique, and stay the same between runs; `problems` are those of annotations that were
    found before any picture was read, one line each, naming the file.
    """

    @property
    def name(self) -> str: ...
    @property
    def names(self) -> Sequence[str]: ...
    @property
    def knows(self) -> frozenset[Known]: ...
    @property
    def problems(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, place: int) -> Sample:
        """A sample. Raises PictureError or DataError, naming the file, for what can't be read or doesn't match."""
        ...


class Trial(Protocol):
    """One method's map of one class in one picture. What asks the model costs passes; the rest doesn't."""

    @property
    def sample(self) -> Sample: ...

    @property
    def truth(self) -> Truth | None:
        """What is true of the class; None where it isn't in the picture."""
        ...

    @property
    def label(self) -> str:
        """The data set's name of the class."""
        ...

    @property
    def index(self) -> int:
        """The model's index of the class."""
        ...

    @property
    def rank(self) -> int:
        """The class's place among the model's predictions for the picture, 0 the highest."""
        ...

    @property
    def rivals(self) -> Sequence[int]:
        """The other classes, the highest first."""
        ...

    @property
    def heat(self) -> Heat:
        """The raw map (height, width) in the picture's pixels, bilinear; NaN where the model could not look."""
        ...

    @property
    def raw(self) -> Tensor:
        """The raw map (h, w) at the method's resolution."""
        ...

    @property
    def map(self) -> Tensor:
        """The raw map (H, W) in the image's pixels, bilinear."""
        ...

    @property
    def image(self) -> Tensor:
        """What the model sees (C, H, W); 0 is the mean colour of its preprocessing."""
        ...

    @property
    def framing(self) -> Framing: ...

    def colour(self, red: float, green: float, blue: float) -> Tensor:
        """A colour in 0..1 as the image's normalised channels (C, 1, 1)."""
        ...

    def see(self, pictures: Sequence[Image]) -> Tensor:
        """Pictures of the same size as the sample's -> images (m, C, H, W)."""
        ...

    def logits(self, images: Tensor) -> Tensor:
        """All classes' logits (m, classes) of images (m, C, H, W)."""
        ...

    def confidence(self, images: Tensor) -> Tensor:
        """The class's probability (m,), 0..1, of images (m, C, H, W)."""
        ...

    def scores(self, images: Tensor) -> Tensor:
        """The class's logit (m,) of images (m, C, H, W)."""
        ...

    def again(self, images: Tensor | None = None, index: int | None = None) -> Tensor:
        """The same method's raw maps (m, h, w) of other images, or (1, h, w) of this one, or of another class."""
        ...

    def by(self, method: str) -> Tensor:
        """Another method's raw map (h, w) of the same question, kept for the picture's other trials."""
        ...

    def randomised(self, share: float) -> Tensor:
        """The raw map (h, w) after the last `share` (0..1] of the layers with weights, logits first, lost theirs."""
        ...

    def relabelled(self) -> Tensor:
        """The raw map (h, w) of the model trained on random labels. Raises MetricError where none was given."""
        ...

    def generator(self) -> torch.Generator:
        """A fresh generator, seeded by the evaluation's seed and the picture's name."""
        ...


def in_image(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (..., h, w) -> (..., H, W), bilinear, cells tiling the image evenly; those of that size as they are."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps.float()
    flat = maps.float().reshape(-1, 1, *maps.shape[-2:])
    wide = interpolate(flat, tuple(size), mode="bilinear", align_corners=False)
    return wide.reshape(*maps.shape[:-2], *size)


class Better(StrEnum):
    """Which way a metric's figure is good."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


class About(StrEnum):
    """What one value of a metric is about."""

    PRESENT = "each class in the picture"
    PREDICTED = "each of the five classes predicted"
    PICTURE = "the picture's classes together"


def mean(values: Values, labels: Sequence[str]) -> float:
    """The mean of the trials' first numbers."""
    return float(values[:, 0].mean())


def class_mean(values: Values, labels: Sequence[str]) -> float:
    """The mean over classes of the mean of each class's trials' first numbers."""
    names = np.array(labels)
    return float(np.mean([values[names == name, 0].mean() for name in np.unique(names)]))


@dataclass(frozen=True)
class Metric:
    """A row of the table of metrics: the rule of one trial, how trials are put together, and facts about it.

    `rule(trial, *, options ...)` gives some numbers, always as many, or None where the trial can't be
    judged, which is counted. One that is about PICTURE takes the picture's trials, and gives
    {label: numbers}. `total` puts all trials into the figure, `more` into further figures, `curves` into
    rows of numbers.
    """

    name: str
    rule: Callable[..., Any]
    paper: str
    idea: str
    better: Better = Better.HIGHER
    about: About = About.PRESENT
    needs: Known = Known.CLASSES
    asks: bool = False  # runs the model
    total: Total = mean
    more: Mapping[str, Total] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def choices(self) -> dict[str, Any]:
        """The options that the rule takes, with their values."""
        taken = inspect.signature(self.rule).parameters.values()
        return {p.name: p.default for p in taken if p.kind is p.KEYWORD_ONLY} | dict(self.options)

    @property
    def title(self) -> str:
        """The name, with the options that were set: `pointing:tolerance=0`."""
        return ":".join([self.name, *(f"{name}={value}" for name, value in self.options.items())])

    def set(self, **options: Any) -> Self:
        """The metric with some of its options set. Raises MetricError for one that it doesn't have."""
        for name in options:
            if name not in self.choices:
                listed = ", ".join(f"{key}={value}" for key, value in self.choices.items()) or "none"
                raise MetricError(f"{self.name} has no option {name!r}; its options: {listed}")
        return replace(self, options={**self.options, **options})

    def judge(self, trial: Any) -> Any:
        """The rule's answer for a trial, or for a picture's trials."""
        return self.rule(trial, **self.options)
