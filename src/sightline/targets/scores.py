"""Scores of a model's output. A target turns an output into scores (N,) or (N, K).

Scores are logits before softmax unless a target says otherwise. Targets are plain functions, so
they compose: `counterfactual(contrast(class_(281), class_(282)))`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sightline.errors import ModelError, TargetError

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

    return named(score, f"class {index}" if isinstance(index, int) else "classes")


def named(target: Target, name: str) -> Target:
    target.__name__ = name  # reported where the target is about no one class
    return target


def name_of(target: Target) -> str:
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

    return named(score, f"top {count}")


def top_indices(values: Tensor, count: int) -> Tensor:
    """Indices (N, count) of the highest logits (N, classes), best first; of equals the lower index first."""
    return values.argsort(dim=1, descending=True, stable=True)[:, :count]


def counterfactual(target: Target) -> Target:
    """What speaks against the target: the negated score, and so the negated gradient (arXiv 1610.02391, eq. 3)."""
    return named(lambda output: -target(output), f"against {name_of(target)}")


def contrast(this: Target, that: Target) -> Target:
    """Why this and not that: the difference of two scores."""
    return named(
        lambda output: _columns(this(output)) - _columns(that(output)), f"{name_of(this)} and not {name_of(that)}"
    )


def several(*targets: Target) -> Target:
    """Some targets of the same output at once: scores (N, K), in their order."""

    def score(output: Any) -> Tensor:
        return torch.cat([_columns(target(output)) for target in targets], 1)

    return named(score, ", ".join(map(name_of, targets)))


def _columns(scores: Tensor) -> Tensor:
    """Scores (N,) or (N, K) as (N, K): of one question, a column, which must not meet a row."""
    return scores[:, None] if scores.ndim == 1 else scores


def all_of(indices: Sequence[int]) -> Target:
    """The sum of the logits of a set of classes, as of labels that are there together."""
    if not len(indices):
        raise TargetError("labels together are one label or more, none was given")
    each = class_([list(indices)])
    return named(lambda output: each(output).sum(1), f"classes {' + '.join(map(str, indices))}")


def value(index: int = 0) -> Target:
    """One of the numbers that a regression net gives: output (N,), or (N, numbers)."""

    def score(output: Any) -> Tensor:
        if isinstance(output, Tensor) and output.ndim == 1:
            output = output[:, None]
        return class_(index)(output)[:, 0]

    return named(score, f"value {index}" if index else "value")


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

    return named(score, f"class {index}, finer" if isinstance(index, int) else "classes, finer")


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
