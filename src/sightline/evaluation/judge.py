"""Judging: a batch of pictures is explained by all methods at once, and each map is judged by each metric."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from sightline.adversarial import fooled
from sightline.ask import ask
from sightline.engine import answered, bare
from sightline.errors import MethodError, ModelError, SightlineError
from sightline.evaluation.reading import Asked, Read
from sightline.evaluation.subject import Judged, Subject
from sightline.explainer import layers_of
from sightline.layers import Layer, LayerLike, same_in
from sightline.metrics.correlation import spearman
from sightline.model import Model
from sightline.origin import NO_LAYER
from sightline.outputs import wide
from sightline.randomised import randomised
from sightline.targets import logits, question, top_indices
from sightline.trials import About, Metric
from sightline.types import Method

BEST = 5  # classes that a metric about predictions asks about
CELLS = 14  # a side, at which maps are compared with each other
DIGITS = 8  # significant ones, that are kept of a value

Line = dict[str, Any]


@dataclass(frozen=True)
class RowOf:
    """A row of the table to be: a method in the model, or in the copy of it whose weights were drawn anew."""

    name: str
    method: Method
    control: bool
    copied: bool = False


@dataclass
class Judge:
    """Judges batches of pictures; `refused` are rows that turned out not to be defined on the model, and why."""

    model: Model
    rows: Sequence[RowOf]
    metrics: Sequence[Metric]
    layer: LayerLike | None
    seed: int
    relabelled: Model | None
    attack: int | None
    refused: dict[str, str] = field(default_factory=dict)
    copies: dict[float, nn.Module] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    first: Tensor | None = None  # image, whose pass tells the order of the layers

    def lines(self, batch: Sequence[Read]) -> Iterator[Line]:
        """A line of JSON values for each picture: the classes asked, and each row's values of each metric.

        Nothing is asked of pictures without a class that the model knows, nor of those with the one attacked.
        """
        asking = [
            each
            for each in batch
            if (each.asked or each.silent) and all(asked.index != self.attack for asked in each.asked)
        ]
        for each in batch:
            if each not in asking:
                yield {"picture": each.sample.name, "asked": [], "unknown": each.unknown, "rows": {}}
        if asking:
            yield from self._lines(asking)

    def _lines(self, batch: Sequence[Read]) -> Iterator[Line]:
        images = torch.stack([each.image for each in batch]).to(self.model.like)
        self.first = images[:1] if self.first is None else self.first
        attacked = None
        if self.attack is not None:
            attacked = fooled(self.model, images, self.attack, seed=self.seed)
            images = attacked.image
        asked = self._asked(batch, images)
        maps, values = self._maps(images, asked)
        for n, read in enumerate(batch):
            subject = Subject(
                self.model, read.sample, images[n], read.framing, values[n], self.layers, self.seed,
                self.copy, self.relabelled,
            )  # fmt: skip
            line: Line = {"picture": read.sample.name, "unknown": read.unknown, "layer": _named(self.layers)}
            line["asked"] = [[each.index, each.label, subject.ranked.index(each.index)] for each in asked[n]]
            line["rows"] = {
                row.name: self._judged(subject, row, asked[n], maps[row.name][n], silent=read.silent)
                for row in self.rows
                if row.name in maps
            }
            line["disagreement"] = _disagreement(
                [maps[row.name][n] for row in self.rows if row.name in maps and not row.control]
            )
            if attacked is not None:
                line["fooled"] = float(attacked.probability[n])
            yield line

    def _asked(self, batch: Sequence[Read], images: Tensor) -> list[list[Asked]]:
        """The classes asked about in each picture: those in it, and those predicted where that is of interest."""
        predicted = any(metric.about is About.PREDICTED for metric in self.metrics)
        if not predicted and not any(read.silent for read in batch):
            return [read.asked for read in batch]
        best = top_indices(wide(logits(answered(self.model.module, images))), BEST).tolist()
        rows = []
        for read, indices in zip(batch, best, strict=True):
            known = {each.index for each in read.asked}
            taken = indices if predicted else indices[:1] if read.silent else []
            rows.append(read.asked + [Asked(i, self.model.labels[i]) for i in taken if i not in known])
        return rows

    def _maps(self, images: Tensor, asked: Sequence[Sequence[Asked]]) -> tuple[dict[str, Tensor], Tensor]:
        """Each row's raw maps (N, K, h, w), and the logits (N, classes). Fewer than K classes are filled up."""
        most = max(map(len, asked))
        targets = [[row[min(k, len(row) - 1)].index for k in range(most)] for row in asked]
        asking = replace(question(targets, self.model.labels, len(images)), multi_label=self.model.multi_label)
        layers = self._layers_of(images)
        whole = [row for row in self.rows if not row.copied and row.name not in self.refused]
        refused: list[SightlineError] = []
        result = ask(
            self.model.module, images, asking, layers, [row.method for row in whole], seed=self.seed, refused=refused
        )
        found = {found.method.title: found.maps.float() for found in result.found}
        missing = [row for row in whole if row.method.title not in found]
        self.refused |= {row.name: str(error) for row, error in zip(missing, refused, strict=True)}
        if all(row.control or row.name in self.refused for row in self.rows):
            raise MethodError(next(iter(self.refused.values())))
        maps = {row.name: found[row.method.title] for row in whole if row not in missing}
        for row in self.rows:
            if row.copied and row.method.title in found and (copy := self._copied(row)) is not None:
                there = same_in(bare(copy), layers)
                maps[row.name] = ask(copy, images, asking, there, [row.method], seed=self.seed).found[0].maps.float()
        return maps, wide(logits(result.output))

    def copy(self, share: float) -> nn.Module:
        """A copy whose last share of layers lost their weights. Raises ModelError where the model can't be copied."""
        if share not in self.copies:
            self.copies[share] = randomised(bare(self.model.module), share, self.seed, self.first)
        return self.copies[share]

    def _copied(self, row: RowOf) -> nn.Module | None:
        try:
            return self.copy(1.0)
        except ModelError as error:
            self.refused[row.name] = str(error)
            return None

    def _layers_of(self, images: Tensor) -> list[Layer]:
        if not self.layers and any(row.method.layered for row in self.rows):
            self.layers = layers_of(self.model, images, self.layer)[0]
        return self.layers

    def _judged(self, subject: Subject, row: RowOf, asked: Sequence[Asked], maps: Tensor, *, silent: bool) -> Line:
        """One row's values for a picture, of each metric [(label, numbers or None), ...], and its maps' flaws."""
        module = self.copy(1.0) if row.copied else self.model.module
        trials = [
            Judged(subject, row.method, module, each.index, each.label, each.truth, maps[k])
            for k, each in enumerate(asked)
        ]
        present = trials[:1] if silent else [trial for trial in trials if trial.truth is not None]
        values = {}
        for metric in self.metrics:
            if metric.about is About.PICTURE:
                told = metric.judge(present) or {}
                values[metric.title] = [[label, _plain(numbers)] for label, numbers in told.items()]
            else:
                of = [each for each in trials if each.rank < BEST] if metric.about is About.PREDICTED else present
                values[metric.title] = [[trial.label, _plain(metric.judge(trial))] for trial in of]
        highest = [float(trial.raw.max()) for trial in trials]
        return {
            "values": values,
            "empty": [int(not high > 0) for high in highest],
            "tied": [
                int(high > 0 and int((trial.raw == high).sum()) > 1)
                for trial, high in zip(trials, highest, strict=True)
            ],
        }


def _named(layers: Sequence[Layer]) -> str:
    return ", ".join(map(str, layers)) or NO_LAYER


def _plain(numbers: Any) -> list[float] | None:
    """A rule's answer as JSON; what isn't finite couldn't be judged."""
    if numbers is None:
        return None
    kept = [float(number) for number in numbers]
    return [float(f"{number:.{DIGITS}g}") for number in kept] if all(map(isfinite, kept)) else None


def _disagreement(maps: Sequence[Tensor]) -> float | None:
    """How differently methods order a picture's places: 1 less the mean rank correlation of their maps (K, h, w)."""
    coarse = [adaptive_avg_pool2d(each, CELLS) for each in maps]
    found = [
        1 - same
        for this, that in combinations(coarse, 2)
        for k in range(len(this))
        if (same := spearman(this[k], that[k])) is not None
    ]
    return sum(found) / len(found) if found else None
