"""Explain pictures: picture -> image -> maps -> explanation in the picture's own pixels."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import version
from typing import Any, overload

import torch
from PIL.Image import Image
from torch import nn

from sightline.ask import Found, Layers, Result, Watch, ask, chosen_layer, found_layers, is_list, unwatched
from sightline.checks import Claim
from sightline.errors import LayerError, MethodError, ModelError, SightlineError, TargetError
from sightline.explanation import Explanation, Prediction
from sightline.images import PictureLike, read_picture
from sightline.layers import Layer, LayerLike
from sightline.methods import method as method_of
from sightline.model import Model, Task
from sightline.origin import Origin
from sightline.outputs import rows
from sightline.posing import Setting, asked_in_words, is_posed, pose, said
from sightline.targets import Asked, Question, TargetLike, logits, probabilities, top_indices
from sightline.targets import question as read_question
from sightline.types import Method

PREDICTIONS = 5
AS_ASKED = "as asked"


@overload
def explain(
    model: Model,
    picture: PictureLike,
    target: TargetLike = None,
    *,
    question: str | None = None,
    text: str | None = None,
    layer: LayerLike | None = None,
    method: str | Method = "grad-cam",
    seed: int = 0,
) -> Explanation: ...
@overload
def explain(
    model: Model,
    picture: list[PictureLike],
    target: TargetLike = None,
    *,
    question: str | None = None,
    text: str | None = None,
    layer: LayerLike | None = None,
    method: str | Method = "grad-cam",
    seed: int = 0,
) -> list[Explanation]: ...
def explain(
    model: Model,
    picture: Any,
    target: TargetLike = None,
    *,
    question: str | None = None,
    text: str | None = None,
    layer: LayerLike | None = None,
    method: str | Method = "grad-cam",
    seed: int = 0,
) -> Explanation | list[Explanation]:
    """Explain a picture, or each of a list of pictures.

    For one picture a list of targets means several of them; for a list of pictures it means one for
    each, and a list of lists several for each. Names are looked up in the model's labels; `not:NAME`
    asks what speaks against a class, `NAME-vs:NAME` why one and not the other, `finer:NAME` what tells it
    from its nearest rivals, `top:5` for the best five.
    What else can be asked depends on what the model gives: `word:3`, `caption`, `answer`, `box:2`, `region:MASK.png`,
    `text:a red circle` and more are the rows of `sightline.posing.KINDS`. `question` is put to models that answer
    questions; `text` is a sentence, to be read in place of a captioner's own, or compared with a picture as one target
    more.
    `method` is a name, with options where wanted (`rise:masks=4000`); `seed` fixes what methods that
    draw numbers draw.
    Raises PictureError, TargetError, LayerError, MethodError and ModelError.
    """
    if is_list(layer):
        raise LayerError("explain takes one layer; for several in one pass use sightline.compare(..., layers=[...])")
    if isinstance(picture, list):
        found = explained(
            model, picture, target, question=question, text=text, layers=layer, methods=[method], seed=seed
        )
        return [row[0] for row in found]
    return compare(model, picture, target, question=question, text=text, layers=layer, methods=[method], seed=seed)[0]


def compare(
    model: Model,
    picture: PictureLike,
    target: TargetLike = None,
    *,
    question: str | None = None,
    text: str | None = None,
    layers: Layers = None,
    methods: Sequence[str | Method] = ("grad-cam",),
    seed: int = 0,
    progress: Watch = unwatched,
    refused: list[SightlineError] | None = None,
) -> list[Explanation]:
    """One picture's question at several layers by several methods; layers first, then methods.

    Methods that read activations and gradients share one pass; those that ask about no layer answer
    once. `progress` is given each method that asks the model itself and returns what to tell how far
    it is, or None. Where a list is given as `refused`, methods that aren't defined on the model are
    left out and their errors put there; else the first is raised.
    """
    return explained(
        model, [picture], of_one(target), question=question, text=text, layers=layers, methods=methods, seed=seed,
        progress=progress, refused=refused,
    )[0]  # fmt: skip


def of_one(target: TargetLike) -> TargetLike:
    """A target of one picture, where a list means several, as a target of a list of one picture."""
    if not isinstance(target, list | tuple) or any(isinstance(item, list | tuple) for item in target):
        return target
    return [target]


def explained(
    model: Model,
    pictures: Sequence[PictureLike],
    target: TargetLike = None,
    *,
    question: str | None = None,
    text: str | None = None,
    layers: Layers = None,
    methods: Sequence[str | Method] = ("grad-cam",),
    batch_size: int = 16,
    seed: int = 0,
    progress: Watch = unwatched,
    refused: list[SightlineError] | None = None,
) -> list[list[Explanation]]:
    """For each picture its explanations, layers first, then methods; pictures go through the model in batches.

    `target` is read over all pictures, as `maps` reads it over images. Questions that depend on what the model says
    of a picture are put to one picture at a time.
    """
    if not isinstance(model, Model):
        raise ModelError(
            f"a sightline.Model is expected, got {type(model).__name__}; make one with sightline.load(name) "
            "or sightline.wrap(module, preprocess=..., labels=...)"
        )
    if model.frames:
        raise ModelError(f"{model.name} takes clips of {model.frames} frames, not pictures; give it a video")
    rules = [method_of(method) for method in methods]
    if not rules:
        raise MethodError("no method was given; name at least one")
    one_by_one = is_posed(model, target)
    asking = of_each(target, len(pictures)) if one_by_one else of_all(target, model, len(pictures))
    whys: list[list[Explanation]] = []
    size = 1 if one_by_one else batch_size
    for start in range(0, len(pictures), size):
        part = slice(start, start + size)
        read = [read_picture(picture) for picture in pictures[part]]
        image = torch.stack([model.preprocess(picture) for picture in read]).to(model.like)
        framing = model.preprocess.framing(read[0].size)
        setting = Setting(model, image, framing, question, text)
        module = setting.module if one_by_one else asked_in_words(model, question, text)
        asked = pose(setting, asking[start]) if isinstance(asking, list) else asking.part(part)
        found, why = layers_of(model, image, layers, module) if any(rule.layered for rule in rules) else ([], "")
        result = ask(module, image, asked, found, rules, seed=seed, progress=progress, refused=refused)
        claims = partial(_claim, model, module, asked, result, found, seed)
        words = Said(question, said(setting) if one_by_one else "")
        whys += _explanations(model, pictures[part], read, result, asked, why, seed, words, claims)
    return whys


def of_all(target: TargetLike, model: Model, pictures: int) -> Question:
    """A question of classes, read over all pictures."""
    return replace(read_question(target, model.labels, pictures), multi_label=model.multi_label)


def of_each(target: TargetLike, pictures: int) -> list[list[Any] | None]:
    """What is asked of each picture: a list of targets, or None for what its model suggests.

    Raises TargetError for a wrong length.
    """
    if target is None:
        return [None] * pictures
    if isinstance(target, torch.Tensor):
        target = target.tolist()
    if not isinstance(target, list | tuple):
        return [[target]] * pictures
    if len(target) != pictures:
        raise TargetError(
            f"{len(target)} targets were given for {pictures} pictures; give one for all, a list of one per picture, "
            "or a list of lists for several per picture"
        )
    return [list(row) if isinstance(row, list | tuple) else [row] for row in target]


@dataclass(frozen=True, slots=True)
class Said:
    """What the model was asked in words, if anything, and what it said of the picture itself."""

    question: str | None
    answer: str


def _explanations(
    model: Model, sources: Sequence[PictureLike], pictures: Sequence[Image], result: Result, asked: Question, why: str,
    seed: int, words: Said, claims: Callable[..., Claim],
) -> list[list[Explanation]]:  # fmt: skip
    shares = shares_of(model, result)
    return [
        [
            Explanation(
                picture=picture,
                framing=model.preprocess.framing(picture.size),
                maps=found.maps[n].float().cpu(),
                asked=tuple(result.asked[n]),
                scores=tuple(result.scores[n].tolist()),
                probabilities=asked.shares or probabilities_of(shares, result.asked[n], n),
                predictions=_predictions(model, shares, n),
                question=words.question,
                said=words.answer or _answer(model, shares, n),
                **Origin.of(model, found, why, seed).origin,
                path=os.fspath(source) if isinstance(source, str | os.PathLike) else None,
                versions=_versions(),
                claim=partial(claims, picture, n, found),
            )
            for found in result.found
        ]
        for n, (source, picture) in enumerate(zip(sources, pictures, strict=True))
    ]


def _claim(
    model: Model, module: nn.Module, asking: Question, result: Result, layers: Sequence[Layer], seed: int,
    picture: Image, n: int, found: Found, asked: Asked,
) -> Claim:  # fmt: skip
    """What leads from one map back to the model: the image is made again from the picture."""
    fixed = asking.part(slice(n, n + 1)).fixed(rows(result.output, slice(n, n + 1), len(result.scores)))
    at = [found.layer] if found.layer is not None else list(layers[-1:])
    image = model.preprocess(picture)[None].to(model.like)
    return Claim(module, image, fixed, result.asked[n].index(asked), at, found.method, seed)


def layers_of(
    model: Model, image: torch.Tensor, layers: Layers, module: nn.Module | None = None
) -> tuple[list[Layer], str]:
    """The layers that are meant, and why: as named, as the model's source has it, or chosen.

    `module` is the model as it is asked, where that isn't its own module.
    """
    module = model.module if module is None else module
    named, why = (layers, AS_ASKED) if layers is not None else _layer_of(model, image, module)
    return found_layers(module, image, named)[0], why


def _layer_of(model: Model, image: torch.Tensor, module: nn.Module) -> tuple[LayerLike, str]:
    """The source's layer, or the one chosen at the first image of this size."""
    if model.layer is not None:
        return model.layer, f"the layer that {model.source} names"
    size = tuple(image.shape[1:])
    if size not in model.choices:
        read = _numbers if model.task is Task.VALUES else logits
        model.choices[size] = chosen_layer(module, image, read)
    return model.choices[size].layer.name, model.choices[size].why


def _numbers(output: Any) -> torch.Tensor:
    """The numbers (N, M) of a regression net that gives (N,) or (N, M)."""
    return output.reshape(len(output), -1) if isinstance(output, torch.Tensor) else logits(output)


def shares_of(model: Model, result: Result) -> torch.Tensor | None:
    """The classes' probabilities (N, classes); None for other outputs, and for a single number, which may be any.

    Raises ModelError where the model has other labels than classes.
    """
    if model.task not in (Task.CLASSES, Task.ANSWERS):
        return None
    try:
        values = logits(result.output).detach()
    except ModelError:
        return None
    if values.ndim != 2 or (values.shape[1] == 1 and not model.multi_label):
        return None
    if model.labels and len(model.labels) != values.shape[1]:
        raise ModelError(f"{model.name} has {values.shape[1]} classes and {len(model.labels)} labels; give it its own")
    return probabilities(values, multi_label=model.multi_label)


def _predictions(model: Model, shares: torch.Tensor | None, n: int) -> tuple[Prediction, ...]:
    if shares is None:
        return ()
    best: list[int] = top_indices(shares[n : n + 1], PREDICTIONS)[0].tolist()
    return tuple(Prediction(model.labels[i], i, float(shares[n, i])) for i in best)


def _answer(model: Model, shares: torch.Tensor | None, n: int) -> str:
    """The answer to a question in words."""
    if model.task is not Task.ANSWERS or shares is None:
        return ""
    return model.labels[int(shares[n].argmax())]


def probabilities_of(shares: torch.Tensor | None, asked: Sequence[Asked], n: int) -> tuple[float | None, ...]:
    """The probability of each class asked about in image `n`, None of what is no class."""
    return tuple(None if shares is None or one.index is None else float(shares[n, one.index]) for one in asked)


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("sightline", "torch", "numpy", "pillow")}
