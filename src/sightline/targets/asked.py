"""Questions of classes: read from names and indices, put to a batch, and reported in words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any, Self

import torch
from torch import Tensor

from sightline.errors import TargetError
from sightline.outputs import wide
from sightline.targets.labels import NO_LABELS, Labels
from sightline.targets.scores import (
    RIVALS,
    Target,
    TargetLike,
    class_,
    logits,
    name_of,
    nearest,
    top,
    top_indices,
)


@dataclass(frozen=True)
class Phrase:
    """One class question: the logit of `index`, less that of a `rival`, negated where asked what is against.

    A `finer` one is less the mean of its `nearest` rivals, which are those of each output until they are fixed.
    """

    index: int
    rival: int | None = None
    negated: bool = False
    finer: bool = False
    nearest: tuple[int, ...] = ()

    def worded(self, labels: Labels, classes: int) -> str:
        """The question in words, for a model of so many classes."""
        name = labels[self.index % classes]
        if self.rival is not None:
            name += f" and not {labels[self.rival % classes]}"
        if self.finer:
            name += ", finer"
        return f"against {name}" if self.negated else name


def phrase(text: str | int, labels: Labels) -> Phrase:
    """Read a class index, name or wnid, `not:NAME` (counterfactual), `NAME-vs:NAME` (contrast) or `finer:NAME`.

    Raises TargetError where a name fits no class, or several.
    """
    if isinstance(text, int):
        return Phrase(text)
    if not text.strip():
        raise TargetError("an empty target was given; name a class, or leave it out")
    if text.casefold().startswith("top:") and not re.fullmatch(r"top:\d+", text.casefold()):
        raise TargetError(f"{text!r} is no number of classes; expected one, as in top:5")
    if text.casefold().startswith("top:"):
        raise TargetError(f"{text!r} stands alone, for the highest classes; leave out the other targets")
    if text.casefold().startswith("not:"):
        inner = phrase(text[4:], labels)
        return replace(inner, negated=not inner.negated)
    if text.casefold().startswith("finer:"):
        inner = phrase(text[6:], labels)
        if inner != Phrase(inner.index):
            raise TargetError(f"{text!r}: 'finer:' finds a class's rivals itself, so give it one class and no more")
        return replace(inner, finer=True)
    this, versus, that = text.partition("-vs:")
    return Phrase(labels.index(this), labels.index(that) if versus else None)


@dataclass(frozen=True)
class Asked:
    """One question of one image as it is reported: its name, and the class and the box that it is about, if any.

    `box` is x0, y0, x1, y1 in the picture's pixels.
    """

    name: str
    index: int | None = None
    box: tuple[float, float, float, float] | None = None
    text: str = field(default="", compare=False)  # what was typed, where that isn't simply a class's name

    @property
    def facts(self) -> dict[str, Any]:
        """As JSON values; a box only where there is one."""
        return {"name": self.name, "index": self.index} | ({} if self.box is None else {"box": list(self.box)})


@dataclass(frozen=True)
class Question:
    """What is asked of a batch: a target, or phrases, one row for all images or one per image.

    `several` if the caller asked for a list per image, `best` if for that many of the highest classes;
    `multi_label` where classes are independent.
    """

    target: Target | None = None
    phrases: tuple[tuple[Phrase, ...], ...] = ()
    several: bool = False
    best: int = 0
    labels: Labels = NO_LABELS
    multi_label: bool = False
    names: tuple[Asked, ...] = ()  # of a target's K questions, where they are known, and what shares they have
    shares: tuple[float | None, ...] = ()

    def part(self, images: slice) -> Self:
        """The same question of some of the images."""
        return replace(self, phrases=self.phrases[images]) if len(self.phrases) > 1 else self

    def scores(self, output: Any) -> Tensor:
        """Scores (N, K). Raises TargetError where the target gives another shape."""
        scores = self.target(output) if self.target else _phrase_scores(self.phrases, output)
        first = output if isinstance(output, Tensor) else getattr(output, "logits", None)
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        if not isinstance(scores, Tensor) or scores.ndim not in (1, 2):
            raise TargetError(f"the target gives {shape}; expected one score per image, shape (N,), or (N, K)")
        if isinstance(first, Tensor) and len(first) != len(scores):
            raise TargetError(f"the target gives {shape} for {len(first)} images; expected one score per image")
        return scores[:, None] if scores.ndim == 1 else scores

    def columns(self, output: Any) -> Tensor | None:
        """The indices (N, K) of the logits that the scores are, or None where a score isn't just one logit."""
        if self.best:
            return top_indices(logits(output), self.best)
        if self.target or any(p.rival is not None or p.negated or p.finer for row in self.phrases for p in row):
            return None
        values = logits(output)
        rows = torch.tensor([[p.index for p in row] for row in self.phrases], device=values.device)
        return rows.expand(len(values), -1) % values.shape[1]

    def fixed(self, output: Any) -> Self:
        """The same question of these very classes, whatever image is asked about next."""
        if any(p.finer for row in self.phrases for p in row):
            return replace(self, phrases=_with_rivals(self.phrases, logits(output)))
        if not self.best:
            return self
        best = top_indices(logits(output), self.best).tolist()
        return replace(self, target=None, best=0, phrases=tuple(tuple(Phrase(i) for i in row) for row in best))

    def of_rows(self, images: Sequence[int]) -> Self:
        """The same question of an output whose rows are versions of these images."""
        if self.target or len(self.phrases) <= 1:
            return self
        return replace(self, phrases=tuple(self.phrases[n] for n in images))

    def confidences(self, output: Any) -> Tensor:
        """In 0..1 (N, K): a class's probability, one less that where it's negated; for a contrast of two classes,
        and for a target of one's own, the logistic function of the score."""
        scores = wide(self.scores(output))
        found = scores.sigmoid()
        if self.target is None and not self.multi_label:
            plain = torch.tensor(
                [[p.rival is None and not p.finer for p in row] for row in self.phrases], device=scores.device
            )
            negated = torch.tensor([[p.negated for p in row] for row in self.phrases], device=scores.device)
            index = [[p.index for p in row] for row in self.phrases]
            shares = class_(index if len(index) > 1 else index * len(scores))(wide(logits(output)).softmax(1))
            found = torch.where(plain, torch.where(negated, 1 - shares, shares), found)
        return found

    def asked(self, output: Any, scores: Tensor) -> list[list[Asked]]:
        """What was asked, in words: N rows of K."""
        n, k = scores.shape
        if self.best:
            best: list[list[int]] = top_indices(logits(output), self.best).tolist()
            return [[Asked(self.labels[i], i) for i in row] for row in best]
        if self.names:
            return [list(self.names) for _ in range(n)]
        if self.target:
            name = name_of(self.target).replace("<lambda>", "target")
            return [[Asked(name if k == 1 else f"{name} {i}") for i in range(k)] for _ in range(n)]
        classes = logits(output).shape[1]
        rows = self.phrases * n if len(self.phrases) == 1 else self.phrases
        return [[Asked(p.worded(self.labels, classes), p.index % classes) for p in row] for row in rows]


def _phrase_scores(phrases: Sequence[Sequence[Phrase]], output: Any) -> Tensor:
    scores = class_([[p.index for p in row] for row in phrases])(output)
    if any(p.rival is not None for row in phrases for p in row):
        rivals = class_([[p.index if p.rival is None else p.rival for p in row] for row in phrases])(output)
        alone = torch.tensor([[p.rival is None for p in row] for row in phrases], device=scores.device)
        scores = torch.where(alone, scores, scores - rivals)
    if any(p.finer for row in phrases for p in row):
        values = logits(output)
        known = _with_rivals(phrases, values)
        less = torch.stack([torch.stack([_mean(values[n], p.nearest) for p in row]) for n, row in enumerate(known)])
        scores = scores - less
    if any(p.negated for row in phrases for p in row):
        negated = torch.tensor([[p.negated for p in row] for row in phrases], device=scores.device)
        scores = torch.where(negated, -scores, scores)
    return scores


def _with_rivals(phrases: Sequence[Sequence[Phrase]], values: Tensor) -> tuple[tuple[Phrase, ...], ...]:
    """A row of phrases per image, in which each finer one knows its rivals."""
    rows = list(phrases) * len(values) if len(phrases) == 1 else phrases
    own = torch.tensor([[p.index for p in row] for row in rows], device=values.device) % values.shape[1]
    found = nearest(values, own, RIVALS).tolist()
    return tuple(
        tuple(replace(p, nearest=tuple(found[n][k])) if p.finer and not p.nearest else p for k, p in enumerate(row))
        for n, row in enumerate(rows)
    )


def _mean(values: Tensor, classes: Sequence[int]) -> Tensor:
    return values[list(classes)].mean() if classes else values.new_zeros(())


def question(target: TargetLike, labels: Labels, images: int) -> Question:
    """Read a target as a question of `images` images.

    Raises TargetError, before any model runs, where a name is unknown or a length is wrong.
    """
    if target is None:
        return Question(top(1), best=1, labels=labels)
    if isinstance(target, Tensor):
        target = target.tolist()
    if callable(target):
        return Question(target)
    if isinstance(target, str) and (match := re.fullmatch(r"top:(\d+)", target)):
        return Question(top(int(match[1])), several=True, best=int(match[1]), labels=labels)
    if isinstance(target, str) or not isinstance(target, Sequence):
        return Question(phrases=((_phrase(target, labels),),), labels=labels)
    rows = list(target)
    several = bool(rows) and all(isinstance(row, Sequence | Tensor) and not isinstance(row, str) for row in rows)
    phrases = tuple(tuple(_phrase(item, labels) for item in (row if several else [row])) for row in rows)
    if len(rows) != images:
        raise TargetError(
            f"{len(rows)} targets were given for {images} images; give one target for all, a list of one per image, "
            "or a list of lists for several per image"
        )
    if len({len(row) for row in phrases}) != 1 or not phrases[0]:
        raise TargetError(f"every image needs as many targets as the others, got {[len(row) for row in phrases]}")
    return Question(phrases=phrases, several=several, labels=labels)


def _phrase(item: Any, labels: Labels) -> Phrase:
    if isinstance(item, Tensor) and item.ndim == 0:
        item = item.item()
    if isinstance(item, Integral) and not isinstance(item, bool):
        item = int(item)  # numpy's integers too
    if isinstance(item, bool) or not isinstance(item, str | int):
        raise TargetError(f"{item!r} is no target; expected a class index, a name, or one callable for all images")
    return phrase(item, labels)
