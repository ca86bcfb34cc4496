"""Explaining for a run: a batch of images -> what the model says of them, and the maps that were asked for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sightline.ask import Found, Result, ask
from sightline.engine import answered, bare
from sightline.errors import LayerError, MethodError, ModelError, SightlineError, TargetError
from sightline.explainer import shares_of
from sightline.layers import LayerLike, find
from sightline.model import Model
from sightline.outputs import wide
from sightline.posing import is_posed
from sightline.runs.reading import Batch, Read
from sightline.targets import Asked, Phrase, Question, logits, phrase, top, top_indices
from sightline.types import Method

PREDICTED, LABEL = "predicted", "label"


@dataclass(frozen=True)
class Wanted:
    """One target of one picture: as it was asked for, and its place among the picture's questions, or its error.

    `label` is what the data set calls its class, where that is what was asked for.
    """

    asked: str
    place: int = 0
    label: str | None = None
    error: str | None = None


@dataclass(frozen=True, eq=False)
class Answers:
    """What the model said of some pictures of a batch, on its own device, and the maps that were asked for.

    `values` (n, classes) are the logits, `shares` the probabilities; `present` are the classes that its labels name,
    `wanted` its targets, for each picture.
    """

    pictures: Sequence[Read]
    values: Tensor
    shares: Tensor | None
    present: Sequence[Sequence[int]]
    wanted: Sequence[Sequence[Wanted]]
    scores: Tensor | None = None  # (n, K), None where nothing was asked
    asked: Sequence[Sequence[Asked]] = ()
    found: Sequence[Found] = ()


@dataclass(frozen=True, eq=False)
class Failed:
    """A picture that was read, but that the model or a method can't take."""

    picture: Read
    error: str


@dataclass(eq=False)
class Explainer:
    """Asks a model of `classes` classes about batches of pictures.

    Each of `targets` is `predicted`, `label` (each class that the data set says is in the picture) or what
    `sightline.explain` takes of classes: a name, an index, not:NAME, A-vs:B, finer:NAME, top:3.
    """

    model: Model
    targets: tuple[str, ...]
    methods: tuple[Method, ...]
    layer: LayerLike | None
    seed: int
    classes: int
    indices: dict[str, int | None] = field(default_factory=dict)

    def check(self) -> None:
        """Raise TargetError for a target that no picture can be asked about."""
        for text in self.targets:
            self._check(text)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_layers"}

    def __call__(self, batch: Batch) -> list[Answers | Failed]:
        """The batch's answers; where the model can't take it, as scores aren't finite, each picture is asked alone."""
        seen = batch.seen
        if batch.images is None:
            return []
        images = batch.images.to(self.model.like, non_blocking=True)
        try:
            return [self._answers(seen, images)]
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"there is no memory for {len(seen)} pictures at a time on {images.device}; show it fewer, as --batch "
                f"{max(1, len(seen) // 2)}"
            ) from error
        except SightlineError as error:
            if "DataLoader worker" in str(error):  # told by a signal, in the midst of a pass that has no part in it
                raise
            if len(seen) == 1:
                return [Failed(seen[0], str(error))]
            whole = error
        alone: list[Answers | Failed] = []
        errors: list[SightlineError] = []
        for n, read in enumerate(seen):
            try:
                alone.append(self._answers([read], images[n : n + 1]))
            except SightlineError as error:
                alone.append(Failed(read, str(error)))
                errors.append(error)
        if len(errors) == len(seen) and all(isinstance(error, MethodError | LayerError) for error in errors):
            raise whole
        return alone

    def index(self, label: str) -> int | None:
        """The class that a label of the data set names, whole; None where the model has none."""
        if label not in self.indices:
            try:
                index = self.model.labels.index(label, whole=True)  # a hot dog is no dog
            except TargetError:
                index = -1
            self.indices[label] = index if 0 <= index < self.classes else None
        return self.indices[label]

    @cached_property
    def _layers(self) -> list[Any]:
        return [] if self.layer is None else [find(bare(self.model.module), self.layer)]

    def _check(self, text: str) -> None:
        if text == LABEL and not self.model.labels:
            raise TargetError(
                f"{LABEL} asks for what the data set names, and {self.model.name} has no class names; give it labels"
            )
        if text in (PREDICTED, LABEL):
            return
        if is_posed(self.model, text):
            raise TargetError(
                f"{text!r} is asked of one picture at a time; a run asks for predicted, label, a class, not:NAME, "
                "A-vs:B, finer:NAME or top:3"
            )
        count = _best(text)
        if count is not None:
            if not 1 <= count <= self.classes:
                raise TargetError(f"{text!r} was asked of a model with {self.classes} classes")
            return
        read = phrase(text, self.model.labels)
        for index in (read.index, read.rival or 0):
            if not 0 <= index < self.classes:
                raise TargetError(f"no class {index}: {self.model.name} has {self.classes}, 0 to {self.classes - 1}")

    def _answers(self, pictures: Sequence[Read], images: Tensor) -> Answers:
        """One question for all pictures, with as many targets each as the picture that has most."""
        module = self.model.module
        present = [self._present(read) for read in pictures]
        question, wanted = self._question(pictures, images)
        if question is None:
            output = answered(module, images)
            values = wide(logits(output))
            return Answers(pictures, values, shares_of(self.model, Result(output, values, [], [])), present, wanted)
        result = ask(module, images, question, self._layers, self.methods, seed=self.seed)
        values, shares = wide(logits(result.output)), shares_of(self.model, result)
        return Answers(pictures, values, shares, present, wanted, result.scores, result.asked, result.found)

    def _present(self, read: Read) -> list[int]:
        found = [self.index(label) for label in read.labels or ()]
        return [index for index in found if index is not None]

    def _question(self, pictures: Sequence[Read], images: Tensor) -> tuple[Question | None, list[list[Wanted]]]:
        labels, multi_label = self.model.labels, self.model.multi_label
        if len(self.targets) == 1 and (count := _best(self.targets[0])) is not None:
            # The best are found by the very pass that is explained.
            wanted = [[Wanted(self.targets[0], k) for k in range(count)] for _ in pictures]
            best = Question(top(count), several=count > 1, best=count, labels=labels, multi_label=multi_label)
            return best, wanted
        most = max((_best(text) or 0 for text in self.targets), default=0)
        ranked: list[list[int]] = [[]] * len(pictures)
        if most:
            ranked = top_indices(wide(logits(answered(self.model.module, images))), most).tolist()
        rows: list[list[Phrase]] = []
        wanted = []
        for read, best_of in zip(pictures, ranked, strict=True):
            phrases: dict[Phrase, int] = {}
            targets: list[Wanted] = []
            for text in self.targets:
                for label, asked in self._phrases(text, read, best_of):
                    if isinstance(asked, str):
                        targets.append(Wanted(text, label=label, error=asked))
                    else:
                        targets.append(Wanted(text, phrases.setdefault(asked, len(phrases)), label))
            wanted.append(targets)
            rows.append(list(phrases))
        most = max(map(len, rows))
        if not most:
            return None, wanted
        filled = tuple(tuple(row[min(k, len(row) - 1)] if row else Phrase(0) for k in range(most)) for row in rows)
        return Question(phrases=filled, several=True, labels=labels, multi_label=multi_label), wanted

    def _phrases(self, text: str, read: Read, ranked: Sequence[int]) -> list[tuple[str | None, Phrase | str]]:
        """A target of one picture as labels, if any, with questions of classes, or errors of what can't be asked."""
        if text == LABEL:
            if not read.labels:
                return [(None, "the data set names no class in it")]
            found = {label: self.index(label) for label in read.labels}
            return [
                (label, f"the model knows no class {label!r}" if index is None else Phrase(index))
                for label, index in found.items()
            ]
        count = _best(text)
        asked = [phrase(text, self.model.labels)] if count is None else [Phrase(index) for index in ranked[:count]]
        return [(None, each) for each in asked]


def _best(text: str) -> int | None:
    """How many of the best classes a target is about; None where it is about others."""
    if text == PREDICTED:
        return 1
    found = re.fullmatch(r"top:(\d+)", text.strip())
    return int(found[1]) if found else None
