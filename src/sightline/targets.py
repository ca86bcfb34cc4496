"""Targets: what is asked of the model's output. A target turns an output into scores (N,) or (N, K).

Scores are logits before softmax unless a target says otherwise. Targets are plain functions, so
they compose: `counterfactual(contrast(class_(281), class_(282)))`.
"""

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from sightline.errors import ModelError, TargetError
from sightline.outputs import wide

Target = Callable[[Any], Tensor]
"""The model's output -> scores (N,), or (N, K) for K questions of each image."""

TargetLike = int | str | Target | Tensor | Sequence[Any] | None
"""A class index or name for every image, a list of N (one each), a list of N lists (several each), a
tensor (N,) or (N, K) of indices, a callable on the output, or None for the predicted class."""


def logits(output: Any) -> Tensor:
    """The logits (N, K, ...) in a model's output: a tensor, `.logits`, or the first tensor of a tuple or mapping.

    Raises ModelError where there are none.
    """
    found = getattr(output, "logits", output)
    if isinstance(found, Mapping):
        found = found.get("logits", found.get("out", next(iter(found.values()), None)))
    elif isinstance(found, tuple | list) and found:
        found = found[0]
    if not isinstance(found, Tensor) or found.ndim < 2:
        shape = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(output).__name__}"
        raise ModelError(f"the model gives {shape}, not logits (N, classes); pass a callable target that reads it")
    return found


def class_(index: int | Sequence[Any] | Tensor) -> Target:
    """The logits of classes: one index for all images, N indices, or (N, K) or (1, K) of them.

    Negative indices count from the end. The target raises TargetError for a class that the model
    doesn't have, a wrong number of images, or logits with space.
    """
    indices = torch.as_tensor(index)

    def score(output: Any) -> Tensor:
        values = logits(output)
        if values.ndim != 2:
            raise TargetError(
                f"the model gives logits of shape {tuple(values.shape)}, so a class has many scores per image; "
                "pass a callable target that reduces them to one, such as a mean over a region"
            )
        n, classes = values.shape
        rows = indices.to(values.device).reshape(len(indices) if indices.ndim else 1, -1)
        if len(rows) not in (1, n) or (len(rows) < n and indices.ndim == 1):
            raise TargetError(f"{len(rows)} targets were given for {n} images; give one target, or one per image")
        rows = rows.expand(n, -1)
        wrong = rows[(rows >= classes) | (rows < -classes)]
        if wrong.numel():
            raise TargetError(f"no class {int(wrong[0])}: the model has {classes} classes, 0 to {classes - 1}")
        return values.gather(1, rows % classes)

    return _named(score, f"class {index}" if isinstance(index, int) else "classes")


def _named(target: Target, name: str) -> Target:
    target.__name__ = name  # reported where the target is about no one class
    return target


def _name(target: Target) -> str:
    return getattr(target, "__name__", type(target).__name__)


def top(count: int) -> Target:
    """The logits (N, count) of each image's highest classes, best first."""

    def score(output: Any) -> Tensor:
        values = logits(output)
        if not 1 <= count <= values.shape[1]:
            raise TargetError(
                f"top {count} was asked of a model with {values.shape[1]} classes; ask for 1 to that many"
            )
        return class_(top_indices(values, count))(output)

    return _named(score, f"top {count}")


def top_indices(values: Tensor, count: int) -> Tensor:
    """Indices (N, count) of the highest logits (N, classes), best first; of equals the lower index first."""
    return values.argsort(dim=1, descending=True, stable=True)[:, :count]


def counterfactual(target: Target) -> Target:
    """What speaks against the target: the negated score, and so the negated gradient (arXiv 1610.02391, eq. 3)."""
    return _named(lambda output: -target(output), f"against {_name(target)}")


def contrast(this: Target, that: Target) -> Target:
    """Why this and not that: the difference of two scores."""
    return _named(lambda output: this(output) - that(output), f"{_name(this)} and not {_name(that)}")


RIVALS = 3
"""How many of its nearest rivals a class is set against, where nobody says otherwise."""


def finer(index: int | Sequence[Any] | Tensor, rivals: int = RIVALS, strength: float = 1.0) -> Target:
    """What sets a class apart from the classes that score most like it: its logit less `strength` times their mean.

    Finer-CAM (Zhang et al., CVPR 2025, arXiv 2501.11309), for any method. The rivals are those with
    the smallest difference of logits, chosen anew for each output, or all others where there are
    fewer. Their weights are equal; the authors' code weights each by its probability and lets the
    gradient flow through that, and takes the class to be the first of the sorted, which ties break.
    """
    if rivals < 1:
        raise TargetError(f"a class is set against 1 rival or more, got rivals={rivals}")

    def score(output: Any) -> Tensor:
        this = class_(index)(output)
        values = logits(output)
        own = class_(index)(torch.arange(values.shape[1], device=values.device).expand(values.shape))
        others = nearest(values, own, rivals)
        return this - strength * values[:, None].expand(-1, own.shape[1], -1).gather(2, others).mean(2)

    return _named(score, f"class {index}, finer" if isinstance(index, int) else "classes, finer")


def nearest(values: Tensor, own: Tensor, count: int) -> Tensor:
    """Indices (N, K, count) of the classes whose logits (N, classes) are nearest those of classes `own` (N, K).

    Of equals the lower index comes first. Raises TargetError where there is no other class.
    """
    if values.shape[1] < 2:
        raise TargetError("a class has no rivals in a model with one class; ask about the class itself")
    gaps = (values[:, None] - values.gather(1, own)[..., None]).detach().abs()
    gaps = gaps.scatter(2, own[..., None], torch.inf)
    return gaps.argsort(dim=2, stable=True)[..., : min(count, values.shape[1] - 1)]


def probabilities(values: Tensor, *, multi_label: bool = False) -> Tensor:
    """Softmax over classes of logits (N, classes), or sigmoids where labels are independent."""
    return values.float().sigmoid() if multi_label else values.float().softmax(1)


@dataclass(frozen=True)
class Labels:
    """The classes' names in the order of their indices, and their WordNet ids where known.

    A name may list synonyms, separated by commas.
    """

    names: tuple[str, ...]
    wnids: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> str:
        """The first name of a class, or its index as text where it has none."""
        return self.names[index].split(",")[0].strip() if 0 <= index < len(self.names) else str(index)

    def index(self, asked: str, *, whole: bool = False) -> int:
        """The class that a name, synonym, wnid or index in digits means.

        Unless it must be `whole`, a name needn't be where its words fit one class only ("tabby cat", "great
        white"). Raises TargetError, with the nearest names, where it fits none or several.
        """
        text = _spoken(asked)
        if re.fullmatch(r"\d+", text):
            return int(text)
        if text in self.wnids:
            return self.wnids.index(text)
        spoken = [[_spoken(part) for part in name.split(",")] for name in self.names]
        exact = [i for i, names in enumerate(spoken) if text in names]
        words = set(text.split())
        part = [
            i for i, names in enumerate(spoken)
            if any(set(name.split()) <= words or words <= set(name.split()) for name in names)
        ]  # fmt: skip
        found = exact or (part if words and not whole else [])
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(f"{self[i]!r} ({i})" for i in found[:6]) + (", ..." if len(found) > 6 else "")
            raise TargetError(f"{asked!r} fits {len(found)} classes: {listed}; give a whole name or an index")
        if not self.names:
            raise TargetError(f"the model has no class names to look {asked!r} up in; give an index or labels")
        every = {name: i for i, names in enumerate(spoken) for name in names}
        near = difflib.get_close_matches(text, every, n=4, cutoff=0.5)
        listed = ", ".join(f"{self[every[name]]!r} ({every[name]})" for name in near) or "none"
        raise TargetError(f"no class {asked!r} among {len(self)}; nearest: {listed}")

    @classmethod
    def read(cls, file: Path) -> Self:
        """Labels from a text file with a name per line, or JSON: names, or objects with `index`, `name`, `wnid`.

        Raises ModelError where the file is neither.
        """
        try:
            text = file.read_text(encoding="utf-8")
            if file.suffix != ".json":
                return cls(tuple(line.strip() for line in text.splitlines() if line.strip()))
            rows = json.loads(text)
            if all(isinstance(row, str) for row in rows):
                return cls(tuple(rows))
            rows = sorted(rows, key=lambda row: row["index"])
            return cls(tuple(row["name"] for row in rows), tuple(row["wnid"] for row in rows if "wnid" in row))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"labels file {file} can't be read ({error}); expected a name per line, or a JSON list of names"
            ) from error


def _spoken(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


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
    """One question of one image as it is reported: its name, and the class that it is about, if one."""

    name: str
    index: int | None = None


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
    labels: Labels = Labels(())
    multi_label: bool = False

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
        if self.target:
            name = _name(self.target).replace("<lambda>", "target")
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
