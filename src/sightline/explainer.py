"""Explain pictures: picture -> image -> maps -> explanation in the picture's own pixels."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from importlib.metadata import version
from typing import Any, overload

import torch
from PIL.Image import Image

from sightline.ask import Found, Layers, Result, Watch, ask, chosen_layer, found_layers, is_list, unwatched
from sightline.checks import Claim
from sightline.errors import LayerError, MethodError, ModelError, SightlineError
from sightline.explanation import Explanation, Prediction
from sightline.images import PictureLike, read_picture
from sightline.layers import Layer, LayerLike
from sightline.methods import method as method_of
from sightline.model import Model
from sightline.outputs import rows
from sightline.targets import Asked, Question, TargetLike, logits, probabilities, question, top_indices
from sightline.types import Method

PREDICTIONS = 5
AS_ASKED = "as asked"
NO_LAYER = "image"
NO_LAYER_WHY = "the method asks about no layer"


@overload
def explain(
    model: Model,
    picture: PictureLike,
    target: TargetLike = None,
    *,
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
    layer: LayerLike | None = None,
    method: str | Method = "grad-cam",
    seed: int = 0,
) -> list[Explanation]: ...
def explain(
    model: Model,
    picture: Any,
    target: TargetLike = None,
    *,
    layer: LayerLike | None = None,
    method: str | Method = "grad-cam",
    seed: int = 0,
) -> Explanation | list[Explanation]:
    """Explain a picture, or each of a list of pictures.

    For one picture a list of targets means several of them; for a list of pictures it means one for
    each, and a list of lists several for each. Names are looked up in the model's labels; `not:NAME`
    asks what speaks against a class, `NAME-vs:NAME` why one and not the other, `finer:NAME` what tells it
    from its nearest rivals, `top:5` for the best five.
    `method` is a name, with options where wanted (`rise:masks=4000`); `seed` fixes what methods that
    draw numbers draw.
    Raises PictureError, TargetError, LayerError, MethodError and ModelError.
    """
    if is_list(layer):
        raise LayerError("explain takes one layer; for several in one pass use sightline.compare(..., layers=[...])")
    if isinstance(picture, list):
        return [row[0] for row in explained(model, picture, target, layers=layer, methods=[method], seed=seed)]
    return compare(model, picture, target, layers=layer, methods=[method], seed=seed)[0]


def compare(
    model: Model,
    picture: PictureLike,
    target: TargetLike = None,
    *,
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
        model, [picture], of_one(target), layers=layers, methods=methods, seed=seed, progress=progress, refused=refused
    )[0]


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
    layers: Layers = None,
    methods: Sequence[str | Method] = ("grad-cam",),
    batch_size: int = 16,
    seed: int = 0,
    progress: Watch = unwatched,
    refused: list[SightlineError] | None = None,
) -> list[list[Explanation]]:
    """For each picture its explanations, layers first, then methods; pictures go through the model in batches.

    `target` is read over all pictures, as `maps` reads it over images.
    """
    if not isinstance(model, Model):
        raise ModelError(
            f"a sightline.Model is expected, got {type(model).__name__}; make one with sightline.load(name) "
            "or sightline.wrap(module, preprocess=..., labels=...)"
        )
    rules = [method_of(method) for method in methods]
    if not rules:
        raise MethodError("no method was given; name at least one")
    asking = replace(question(target, model.labels, len(pictures)), multi_label=model.multi_label)
    whys: list[list[Explanation]] = []
    for start in range(0, len(pictures), batch_size):
        part = slice(start, start + batch_size)
        read = [read_picture(picture) for picture in pictures[part]]
        image = torch.stack([model.preprocess(picture) for picture in read]).to(model.like)
        found, why = layers_of(model, image, layers) if any(rule.layered for rule in rules) else ([], "")
        result = ask(
            model.module, image, asking.part(part), found, rules, seed=seed, progress=progress, refused=refused
        )
        claims = partial(_claim, model, asking.part(part), result, found, seed)
        whys += _explanations(model, pictures[part], read, result, why, seed, claims)
    return whys


def _explanations(
    model: Model, sources: Sequence[PictureLike], pictures: Sequence[Image], result: Result, why: str, seed: int,
    claims: Callable[..., Claim],
) -> list[list[Explanation]]:  # fmt: skip
    shares = _shares(model, result)
    if shares is not None and model.labels and len(model.labels) != shares.shape[1]:
        raise ModelError(f"{model.name} has {shares.shape[1]} classes and {len(model.labels)} labels; give it its own")
    return [
        [
            Explanation(
                picture=picture,
                framing=model.preprocess.framing(picture.size),
                maps=found.maps[n].float().cpu(),
                asked=tuple(result.asked[n]),
                scores=tuple(result.scores[n].tolist()),
                probabilities=_of_asked(shares, result.asked[n], n),
                predictions=_predictions(model, shares, n),
                model=model.name,
                source=model.source,
                weights_hash=model.weights_hash,
                layer=NO_LAYER if found.layer is None else str(found.layer),
                layer_why=NO_LAYER_WHY if found.layer is None else why,
                method=found.method.name,
                options=found.method.choices,
                signed=found.method.signed,
                seed=seed,
                passes=str(found.passes),
                path=os.fspath(source) if isinstance(source, str | os.PathLike) else None,
                versions=_versions(),
                claim=partial(claims, picture, n, found),
            )
            for found in result.found
        ]
        for n, (source, picture) in enumerate(zip(sources, pictures, strict=True))
    ]


def _claim(
    model: Model, asking: Question, result: Result, layers: Sequence[Layer], seed: int, picture: Image, n: int,
    found: Found, asked: Asked,
) -> Claim:  # fmt: skip
    """What leads from one map back to the model: the image is made again from the picture."""
    fixed = asking.part(slice(n, n + 1)).fixed(rows(result.output, slice(n, n + 1)))
    at = [found.layer] if found.layer is not None else list(layers[-1:])
    image = model.preprocess(picture)[None].to(model.like)
    return Claim(model.module, image, fixed, result.asked[n].index(asked), at, found.method, seed)


def layers_of(model: Model, image: torch.Tensor, layers: Layers) -> tuple[list[Layer], str]:
    """The layers that are meant, and why: as named, as the model's source has it, or chosen."""
    named, why = (layers, AS_ASKED) if layers is not None else _layer_of(model, image)
    return found_layers(model.module, image, named)[0], why


def _layer_of(model: Model, image: torch.Tensor) -> tuple[LayerLike, str]:
    """The source's layer, or the one chosen at the first image of this size."""
    if model.layer is not None:
        return model.layer, f"the layer that {model.source} names"
    size = tuple(image.shape[1:])
    if size not in model.choices:
        model.choices[size] = chosen_layer(model.module, image)
    return model.choices[size].layer.name, model.choices[size].why


def _shares(model: Model, result: Result) -> torch.Tensor | None:
    """The classes' probabilities (N, classes); None for other outputs, and for a single number, which may be any."""
    try:
        values = logits(result.output).detach()
    except ModelError:
        return None
    if values.ndim != 2 or (values.shape[1] == 1 and not model.multi_label):
        return None
    return probabilities(values, multi_label=model.multi_label)


def _predictions(model: Model, shares: torch.Tensor | None, n: int) -> tuple[Prediction, ...]:
    if shares is None:
        return ()
    best: list[int] = top_indices(shares[n : n + 1], PREDICTIONS)[0].tolist()
    return tuple(Prediction(model.labels[i], i, float(shares[n, i])) for i in best)


def _of_asked(shares: torch.Tensor | None, asked: Sequence[Asked], n: int) -> tuple[float | None, ...]:
    return tuple(None if shares is None or one.index is None else float(shares[n, one.index]) for one in asked)


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("sightline", "torch", "numpy", "pillow")}
