"""Explain pictures: picture -> image -> maps -> explanation in the picture's own pixels."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from typing import Any, overload

import torch

from sightline.ask import Layers, Result, ask, chosen_layer, found_layers, is_list
from sightline.errors import LayerError, MethodError, ModelError
from sightline.explanation import Explanation, Prediction
from sightline.images import PictureLike, read_picture
from sightline.layers import LayerLike
from sightline.methods import method as method_of
from sightline.model import Model
from sightline.targets import Asked, Question, TargetLike, logits, probabilities, question, top_indices
from sightline.types import Method

PREDICTIONS = 5
AS_ASKED = "as asked"


@overload
def explain(
    model: Model,
    picture: PictureLike,
    target: TargetLike = None,
    *,
    layer: LayerLike | None = None,
    method: str | Method = "grad-cam",
) -> Explanation: ...
@overload
def explain(
    model: Model,
    picture: list[PictureLike],
    target: TargetLike = None,
    *,
    layer: LayerLike | None = None,
    method: str | Method = "grad-cam",
) -> list[Explanation]: ...
def explain(
    model: Model,
    picture: Any,
    target: TargetLike = None,
    *,
    layer: LayerLike | None = None,
    method: str | Method = "grad-cam",
) -> Explanation | list[Explanation]:
    """Explain a picture, or each of a list of pictures.

    For one picture a list of targets means several of them; for a list of pictures it means one for
    each, and a list of lists several for each. Names are looked up in the model's labels; `not:NAME`
    asks what speaks against a class, `NAME-vs:NAME` why one and not the other, `top:5` for the best five.
    Raises PictureError, TargetError, LayerError, MethodError and ModelError.
    """
    if is_list(layer):
        raise LayerError("explain takes one layer; for several in one pass use sightline.compare(..., layers=[...])")
    if isinstance(picture, list):
        return [row[0] for row in explained(model, picture, target, layers=layer, methods=[method])]
    return compare(model, picture, target, layers=layer, methods=[method])[0]


def compare(
    model: Model,
    picture: PictureLike,
    target: TargetLike = None,
    *,
    layers: Layers = None,
    methods: Sequence[str | Method] = ("grad-cam",),
) -> list[Explanation]:
    """One picture's question at several layers by several methods, from one pass; layers first, then methods."""
    return explained(model, [picture], of_one(target), layers=layers, methods=methods)[0]


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
    asking = question(target, model.labels, len(pictures))
    rows: list[list[Explanation]] = []
    for start in range(0, len(pictures), batch_size):
        part = slice(start, start + batch_size)
        rows += _batch(model, pictures[part], asking.part(part), layers, rules)
    return rows


def _batch(
    model: Model, pictures: Sequence[PictureLike], asking: Question, layers: Layers, rules: Sequence[Method]
) -> list[list[Explanation]]:
    read = [read_picture(picture) for picture in pictures]
    image = torch.stack([model.preprocess(picture) for picture in read]).to(model.like)
    named, why = (layers, AS_ASKED) if layers is not None else _layer_of(model, image)
    found, _ = found_layers(model.module, image, named)
    result = ask(model.module, image, asking, found, rules)
    shares = _shares(model, result)
    if shares is not None and model.labels and len(model.labels) != shares.shape[1]:
        raise ModelError(f"{model.name} has {shares.shape[1]} classes and {len(model.labels)} labels; give it its own")
    rows = []
    for n, (source, picture) in enumerate(zip(pictures, read, strict=True)):
        whole = Explanation(
            picture=picture,
            framing=model.preprocess.framing(picture.size),
            maps=result.maps[0][0][n],
            asked=tuple(result.asked[n]),
            scores=tuple(result.scores[n].tolist()),
            probabilities=_of_asked(shares, result.asked[n], n),
            predictions=_predictions(model, shares, n),
            model=model.name,
            source=model.source,
            weights_hash=model.weights_hash,
            layer=found[0].name,
            layer_why=why,
            method=rules[0].name,
            signed=rules[0].signed,
            path=os.fspath(source) if isinstance(source, str | os.PathLike) else None,
            versions=_versions(),
        )
        rows.append(
            [
                replace(whole, maps=maps[n].float().cpu(), layer=str(layer), method=rule.name, signed=rule.signed)
                for layer, by_rule in zip(found, result.maps, strict=True)
                for rule, maps in zip(rules, by_rule, strict=True)
            ]
        )
    return rows


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
