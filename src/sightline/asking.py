"""Asking: what a method may ask of a model (types.Questions says what each question means), answered by the engine."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from sightline import engine
from sightline.errors import LayerError, MethodError, ModelError, TargetError
from sightline.layers import Layer, stages
from sightline.outputs import detached, joined, rows, wide
from sightline.targets import Asked, Question, logits
from sightline.types import (
    Activations,
    Attention,
    Gradients,
    Images,
    Item,
    Kind,
    Maps,
    Method,
    Needs,
    Relu,
    Scores,
    Sharing,
)

AT_ONCE = 16  # images in one pass
HEAD_BYTES = 32 * 2**20  # of edited activations in one pass of the head
SAME = 1e-3  # scores computed another way may differ by rounding, as a share of the largest

Progress = Callable[[int, int], None]
"""Called with how many of how many versions have been asked about."""


@dataclass(slots=True)
class Passes:
    """How many passes one target of one image took: through the model, back, and through the head alone.

    `read` if one of them gave the scores of the image itself; else another method's did, and that counts here too.
    """

    forwards: int = 0
    backwards: int = 0
    heads: int = 0
    read: bool = False

    def __str__(self) -> str:
        counted = (("forward", self.forwards), ("back", self.backwards), ("head", self.heads))
        words = [f"{count} {name}{'' if count == 1 or name == 'back' else 's'}" for name, count in counted if count]
        return ", ".join(words)


@dataclass(slots=True)
class Session:
    """One question of one batch of images: what is known of it after the first pass, and what is fixed by it.

    Classes that were asked as the best ones stay those of the first pass, whatever image comes next.
    """

    module: nn.Module
    image: Tensor
    question: Question
    seed: int = 0
    progress: Progress | None = None
    output: Any = None
    scores: Tensor | None = None
    asked: list[list[Asked]] = field(default_factory=list)
    channels_last: bool = True
    stages: dict[Layer, list[Layer]] = field(default_factory=dict)
    cast: Callable[[], AbstractContextManager[Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.cast = _autocast_now(self.image.device.type)

    def learn(self, output: Any) -> Tensor:
        """The scores (N, K) of an output for the session's own image; the first fixes the question.

        Raises ModelError where they aren't finite.
        """
        scores = self.question.scores(output)
        if self.scores is None:
            if not scores.isfinite().all():
                raise ModelError(_not_finite(self.module, self.image, scores))
            self.scores, self.output = scores.detach(), detached(output)
            self.asked = self.question.asked(output, self.scores)
            self.question = self.question.fixed(output)
        return scores


def _autocast_now(kind: str) -> Callable[[], AbstractContextManager[Any]]:
    """The caller's autocast, to be entered whenever the model runs: a method's own sums are left out of it."""
    enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
    return lambda: torch.autocast(kind, dtype=dtype, enabled=enabled)


class Asking:
    """The questions that one method asks about one batch of images, at one layer; see types.Questions."""

    def __init__(
        self, session: Session, layer: Layer | None, image: Images | None = None, passes: Passes | None = None
    ) -> None:
        self.image = session.image if image is None else image
        self.passes = Passes() if passes is None else passes
        self._session, self._given, self._module = session, layer, session.module
        self._grid: tuple[int, ...] | None = None

    @cached_property
    def scores(self) -> Scores:
        if self.image is not self._session.image:
            return self.of_images(self.image[:, None])[:, 0]
        return self._know()

    @property
    def grid(self) -> tuple[int, ...]:
        if self._grid is None:
            self.activations()
        assert self._grid is not None
        return self._grid

    def activations(self, image: Images | None = None) -> Activations:
        image = self._shown(image)
        self.passes.forwards += 1
        with self._session.cast(), engine.asked(self._module, image, [self._layer]) as answer:
            self._scored(answer.output, image)
            self._grid = answer.layouts[0].grid
            return _plane(answer.activations[0], self._grid)[:, None].detach()

    def at_layer(self, image: Images | None = None) -> tuple[Activations, Gradients]:
        image = self._shown(image)
        self.passes.forwards += 1
        with self._session.cast(), engine.asked(self._module, image, [self._layer]) as answer:
            gradients = self._gradients(answer, image, Relu.PLAIN)
            grid = self._grid = answer.layouts[0].grid
            return _plane(answer.activations[0], grid)[:, None].detach(), _plane(gradients, grid)

    def curvature(self) -> tuple[Activations, Gradients, Tensor]:
        self.passes.forwards += 1
        self.passes.backwards += 2
        with self._session.cast(), engine.unfused(), engine.asked(self._module, self.image, [self._layer]) as answer:
            gradients, curved = answer.curvatures(self._scored(answer.output, self.image))
            grid = self._grid = answer.layouts[0].grid
            return _plane(answer.activations[0], grid)[:, None], _plane(gradients, grid), _plane(curved, grid)

    def at_image(self, image: Images | None = None, relu: Relu = Relu.PLAIN) -> Tensor:
        image = self._shown(image)
        self.passes.forwards += 1
        with self._session.cast(), engine.asked(self._module, image, [], from_image=True) as answer:
            return self._gradients(answer, image, relu)

    def biases(self) -> tuple[Tensor, list[Tensor]]:
        self.passes.forwards += 1
        self.passes.backwards += 1
        with self._session.cast():
            return engine.bias_terms(self._module, self.image, partial(self._scored, image=self.image))[1:]

    def of_images(self, images: Tensor) -> Tensor:
        return self._of_versions(images, Question.scores)

    def confidence(self, images: Tensor) -> Tensor:
        return self._of_versions(images, Question.confidences)

    def _of_versions(self, images: Tensor, read: Callable[[Question, Any], Tensor]) -> Tensor:
        self._know()
        n, found = len(images), []
        for part in torch.split(images, max(1, AT_ONCE // n), 1):
            self.passes.forwards += part.shape[1]
            output = self._answered_many(part.transpose(0, 1).flatten(0, 1))
            found.append(self._read(output, n, part.shape[1], read))
        return torch.cat(found, 1)

    def of_activations(self, edited: Tensor) -> Tensor:
        self._know()
        n, m = edited.shape[:2]
        self.passes.heads += m
        heads = self._heads
        edited = edited.reshape(n, m, edited.shape[2], *heads[0].layout.grid)
        with self._session.cast():
            output = joined([head(each) for head, each in zip(heads, edited, strict=True)], [m] * n)
        versions_first = torch.arange(n * m).view(n, m).T.flatten()
        return self._read(rows(output, versions_first, n * m), n, m, Question.scores)

    def parts(self, count: int, *, heads: bool = False) -> Iterator[slice]:
        n = len(self.image)
        if heads:
            held = max(head.bytes for head in self._heads)
            step = min(max(HEAD_BYTES // max(n * held, 1), 1), count)
        else:
            step = max(1, AT_ONCE // n)
        for start in range(0, count, step):
            yield slice(start, min(start + step, count))
            self._tell(min(start + step, count), count)

    def told(self, items: Iterable[Item], count: int) -> Iterator[Item]:
        for done, item in enumerate(items, 1):
            yield item
            self._tell(done, count)

    def maps(self, method: Method, image: Images | None = None, layer: int | None = None) -> Maps:
        image = self._shown(image)
        inner = Asking(self._session, self._given if layer is None else self._stages[layer], image, self.passes)
        return inner.answer(method)

    def answer(self, method: Method) -> Maps:
        """A method's maps (N, K, h, w) of this question, or of the images' own rank. Raises MethodError."""
        if method.kind is not Kind.ASKING:
            return self.tensors([self._layer], [method])[0][0]
        if method.planar and self.image.ndim != 4:
            raise MethodError(
                f"{method.name} is defined for images (N, C, H, W), got {tuple(self.image.shape)}; "
                "grad-cam, saliency, occlusion and most others take signals, volumes and clips too"
            )
        try:
            with torch.autocast(self.image.device.type, enabled=False):
                found = wide(method.answer(self, self._session.seed))
                return found if found.ndim == self.image.ndim else found.reshape(*found.shape[:2], *self.grid)
        except MethodError as error:
            if method.name in str(error):
                raise
            raise MethodError(f"{method.name}: {error}") from error

    def layers(self) -> Sequence[str]:
        return [str(layer) for layer in self._stages]

    def attention(self) -> list[Attention]:
        self.passes.backwards += 1
        return self._attention(layerwise=False)

    def layer_attention(self) -> list[Attention]:
        found = self._attention(layerwise=True)
        self.passes.forwards += 1
        self.passes.backwards += len(found)
        self.passes.heads += len(found)
        return found

    def _attention(self, *, layerwise: bool) -> list[Attention]:
        self.passes.forwards += 1
        read = partial(self._scored, image=self.image)
        with self._session.cast():
            return engine.attentions(self._module, self.image, read, layerwise=layerwise)[1]

    def relevance(self, sharing: Sharing, *, to_image: bool = False, contrast: bool = False) -> Tensor:
        true = self.scores  # of a plain pass
        self.passes.forwards += 1
        self.passes.backwards += 2 if contrast else 1

        def seeds(output: Any) -> tuple[Tensor, Tensor]:
            values = logits(output)
            return values, engine.slopes(self._scored(output, self.image), values)

        layer = None if to_image else self._layer
        with self._session.cast():
            output, found, layout = engine.relevances(
                self._module, self.image, layer, seeds, sharing, contrast=contrast
            )
        off = (self._session.question.scores(output).detach() - true).abs().max()
        if off > SAME * true.abs().max():
            raise MethodError(
                "this model uses an in-place operation for its side effect, ignoring what it returns, "
                "so relevance can't be followed through it; use a gradient method"
            )
        if layout is None:
            return found
        self._grid = layout.grid
        return _plane(found, layout.grid)

    def climb(
        self,
        start: Tensor,
        image_of: Callable[[Tensor], Images],
        loss: Callable[[Tensor, Tensor], Tensor],
        *,
        steps: int,
        rate: float,
    ) -> Tensor:
        self._know()
        found = []
        for k in range(start.shape[1]):
            turns = self._counted(steps, k * steps, start.shape[1] * steps)
            read = partial(self._kth_score, k)
            with self._session.cast():
                found.append(engine.climbed(self._module, start[:, k], image_of, read, loss, turns, rate))
        return torch.stack(found, 1)

    def _kth_score(self, k: int, output: Any) -> Tensor:
        return self._session.question.scores(output)[:, k]

    def _counted(self, steps: int, done: int, of: int) -> Iterator[int]:
        for step in range(steps):
            self.passes.forwards += 1
            self.passes.backwards += 1
            yield step
            self._tell(done + step + 1, of)

    def tensors(self, layers: Sequence[Layer], methods: Sequence[Method]) -> list[list[Maps]]:
        """maps[layer][method] (N, K, h, w) of methods that read activations and gradients, from one pass."""
        self.passes.forwards += 1
        with self._session.cast(), engine.asked(self._module, self.image, layers) as answer:
            scores = self._scored(answer.output, self.image)
            grids = [layout.grid for layout in answer.layouts]
            planes = [_plane(each, grid)[:, None] for each, grid in zip(answer.activations, grids, strict=True)]
            parts: list[list[list[Tensor]]] = [[[] for _ in methods] for _ in layers]
            wanted = [(at, by, method) for at in range(len(layers)) for by, method in enumerate(methods)]
            with torch.autocast(self.image.device.type, enabled=False):  # the caller's, if any, is the model's alone
                _check_heads(answer, self._head_of(answer.output, scores), layers, methods)
                if any(method.kind is Kind.GRADIENT for method in methods):
                    self.passes.backwards += 1
                    for gradients in answer.gradients(*self._source(answer.output, scores)):
                        for at, by, method in wanted:
                            if method.kind is Kind.GRADIENT:
                                gradient = _plane(gradients[at], grids[at])
                                if method.needs is Needs.LINEAR_HEAD:
                                    _check_even(gradient, layers[at], method)
                                parts[at][by].append(method.maps(planes[at], gradient))
                for at, by, method in wanted:
                    if method.kind is Kind.ACTIVATION:
                        parts[at][by].append(method.maps(planes[at], None).expand(-1, scores.shape[1], -1, -1))
            return [
                [torch.cat(chunks, 1).detach().reshape(*scores.shape, *grid) for chunks in row]
                for row, grid in zip(parts, grids, strict=True)
            ]

    @property
    def _layer(self) -> Layer:
        if self._given is None:
            raise LayerError("this method asks about a layer, and none was given")
        return self._given

    @cached_property
    def _heads(self) -> list[engine.Head]:
        self.passes.forwards += 1
        with self._session.cast():
            return [
                engine.Head(engine.of_images(self._module, part), self.image[part], self._layer)
                for part in (slice(n, n + 1) for n in range(len(self.image)))
            ]

    def _answered_many(self, images: Images) -> Any:
        """The output for a batch with its channels last, which is faster, unless the model can't take it."""
        session = self._session
        if session.channels_last and images.ndim == 4:
            try:
                return self._answered(images.contiguous(memory_format=torch.channels_last))
            except ModelError:
                session.channels_last = False  # as where its code takes a view; if that isn't why, it fails again
        return self._answered(images)

    def _answered(self, image: Images) -> Any:
        with self._session.cast():
            return engine.answered(self._module, image.to(self._session.image.dtype))

    @property
    def _stages(self) -> list[Layer]:
        known = self._session.stages
        if self._layer not in known:
            self.passes.forwards += 1
            with self._session.cast():
                calls, _ = engine.trace(self._module, self.image[:1])
            known[self._layer] = stages(calls, self.image.shape[2:], self._layer)
        return known[self._layer]

    def _know(self) -> Scores:
        """The scores of the session's own image; asked for where nothing has yet, so that the question is fixed."""
        session = self._session
        if not self.passes.read:
            self.passes.forwards += 1
            self.passes.read = True
        if session.scores is None:
            session.learn(self._answered(session.image))
        assert session.scores is not None
        return session.scores

    def _shown(self, image: Images | None) -> Images:
        image = self.image if image is None else image
        if image is not self._session.image:
            self._know()
        return image

    def _scored(self, output: Any, image: Images) -> Tensor:
        if image is not self._session.image:
            return self._session.question.scores(output)
        self.passes.read = True
        return self._session.learn(output)

    def _source(self, output: Any, scores: Tensor) -> tuple[Tensor, Tensor | None]:
        """Where gradients start: at some columns of the logits, which spares the picking, or at the scores."""
        columns = self._session.question.columns(output)
        return (scores, None) if columns is None else (logits(output), columns)

    def _head_of(self, output: Any, scores: Tensor) -> Tensor:
        return scores if self._session.question.target else logits(output)

    def _gradients(self, answer: engine.Answer, image: Images, relu: Relu) -> Gradients:
        source, columns = self._source(answer.output, self._scored(answer.output, image))
        self.passes.backwards += 1
        with torch.autocast(image.device.type, enabled=False):
            return torch.cat([chunk[0] for chunk in answer.gradients(source, columns, relu)], 1)

    def _read(self, output: Any, n: int, m: int, read: Callable[[Question, Any], Tensor]) -> Tensor:
        """What is read of an output whose rows are m versions of n images, versions first: (n, m, K)."""
        question = self._session.question
        if question.target is None:
            of_each = question.of_rows([i for _ in range(m) for i in range(n)])
            return wide(read(of_each, output).detach()).view(m, n, -1).transpose(0, 1)
        each = [read(question, rows(output, slice(j * n, (j + 1) * n), n * m)) for j in range(m)]
        if any(len(scores) != n for scores in each):
            raise TargetError(
                f"the target gives {len(each[0])} scores for {n} of {n * m} images; it must read tensors in a model's "
                "output that have a row for each image"
            )
        return wide(torch.stack(each, 1).detach())

    def _tell(self, done: int, of: int) -> None:
        if self._session.progress is not None:
            self._session.progress(done, of)


def _plane(values: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Values (..., *grid) as (..., h, w), in which rules see the positions of a line or a volume as one row."""
    return values if len(grid) == 2 else values.flatten(-len(grid)).unsqueeze(-2)


def _check_heads(answer: engine.Answer, scores: Tensor, layers: Sequence[Layer], methods: Sequence[Method]) -> None:
    """Refuse methods that are defined on a linear head only, where it isn't."""
    for method in (method for method in methods if method.needs is Needs.LINEAR_HEAD):
        for at, layer in enumerate(layers):
            if step := answer.nonlinear_step(scores, at):
                raise MethodError(
                    f"{method.name} needs a linear head after layer {layer.name!r}, and there is {step} on the way "
                    "to the score; use grad-cam, which needs none"
                )


def _check_even(gradient: Tensor, layer: Layer, method: Method) -> None:
    """Refuse methods that are defined on average pooling only, where the gradient differs between positions."""
    spread = gradient.amax((-2, -1)) - gradient.amin((-2, -1))
    if (spread > 1e-4 * gradient.abs().amax((-2, -1))).any():
        raise MethodError(
            f"{method.name} needs global average pooling after layer {layer.name!r}, and the score weights its "
            "positions differently; use grad-cam, which needs none"
        )


def _not_finite(module: nn.Module, image: Tensor, scores: Tensor) -> str:
    bad = [i for i in range(len(scores)) if not scores[i].isfinite().all()]
    if not image.isfinite().all():
        cause = "the image holds NaN or infinity"
    elif not all(p.isfinite().all() for p in module.parameters()):
        cause = "the model's weights hold NaN or infinity"
    else:
        cause = "the numbers overflow inside the model; try a wider dtype"
    which = f" of image {', '.join(map(str, bad[:8]))}" if len(scores) > 1 else ""
    return f"the scores{which} aren't finite: {cause}"
