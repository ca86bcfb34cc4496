"""Ask a module about an image: target, engine and method joined into raw maps. Bare tensors in, bare tensors out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, overload

import torch
from torch import Tensor, nn

from sightline import engine
from sightline.errors import LayerError, MethodError, ModelError
from sightline.layers import Choice, Layer, LayerLike, choose, find
from sightline.methods import method as method_of
from sightline.targets import Asked, Labels, Question, TargetLike, logits, question
from sightline.types import Kind, Method

Layers = LayerLike | Sequence[LayerLike] | None


@dataclass(frozen=True)
class Result:
    """One pass: the output, scores (N, K), their questions (N rows of K), and maps[layer][method] (N, K, h, w)."""

    output: Any
    scores: Tensor
    asked: list[list[Asked]]
    maps: list[list[Tensor]]


def chosen_layer(module: nn.Module, image: Tensor) -> Choice:
    """The layer that is explained where none is named; the model is run on the first image.

    Raises NoSpace where no layer will do.
    """
    module, first = engine.bare(module), image[:1]
    calls, output = engine.trace(module, first)
    finite = bool(logits(output).isfinite().all())
    reach = partial(engine.reach, module, first, logits) if finite else None
    return choose(calls, image.shape[2:], reach)


def ask(
    module: nn.Module, image: Tensor, asking: Question, layers: Sequence[Layer], methods: Sequence[Method]
) -> Result:
    """Answer one question at several layers by several methods: one forward pass, and one pass back per target.

    Raises what the engine and the target raise; ModelError where scores aren't finite, MethodError
    where a method isn't defined on the model's head.
    """
    with engine.asked(engine.bare(module), image, layers) as answer:
        scores = asking.scores(answer.output)
        if not scores.isfinite().all():
            raise ModelError(_not_finite(module, image, scores))
        asked = asking.asked(answer.output, scores.detach())
        columns = asking.columns(answer.output)
        source = scores if columns is None else logits(answer.output)
        _check_heads(answer, scores if asking.target else logits(answer.output), layers, methods)
        grids = [layout.grid for layout in answer.layouts]
        planes = [_plane(each, grid)[:, None] for each, grid in zip(answer.activations, grids, strict=True)]
        parts: list[list[list[Tensor]]] = [[[] for _ in methods] for _ in layers]
        asked_by = [(at, by, methods[by]) for at in range(len(layers)) for by in range(len(methods))]
        with torch.autocast(image.device.type, enabled=False):  # the caller's, if any, is the model's alone
            if any(method.kind is Kind.GRADIENT for method in methods):
                for gradients in answer.gradients(source, columns):
                    for at, by, method in asked_by:
                        if method.kind is Kind.GRADIENT:
                            gradient = _plane(gradients[at], grids[at])
                            if method.linear_head:
                                _check_even(gradient, layers[at], method)
                            parts[at][by].append(method.maps(planes[at], gradient))
            for at, by, method in asked_by:
                if method.kind is Kind.ACTIVATION:
                    parts[at][by].append(method.maps(planes[at], None).expand(-1, scores.shape[1], -1, -1))
        maps = [
            [torch.cat(chunks, 1).detach().reshape(*scores.shape, *grid) for chunks in row]
            for row, grid in zip(parts, grids, strict=True)
        ]
        return Result(answer.output, scores.detach(), asked, maps)


def _check_heads(answer: engine.Answer, scores: Tensor, layers: Sequence[Layer], methods: Sequence[Method]) -> None:
    """Refuse methods that are defined on a linear head only, where it isn't."""
    for method in (method for method in methods if method.linear_head):
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


def _plane(values: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Values (..., *grid) as (..., h, w), in which rules see the positions of a line or a volume as one row."""
    return values if len(grid) == 2 else values.flatten(-len(grid)).unsqueeze(-2)


def _not_finite(module: nn.Module, image: Tensor, scores: Tensor) -> str:
    bad = [i for i in range(len(scores)) if not scores[i].isfinite().all()]
    if not image.isfinite().all():
        cause = "the image holds NaN or infinity"
    elif not all(p.isfinite().all() for p in module.parameters()):
        cause = "the model's weights hold NaN or infinity"
    else:
        cause = "the numbers overflow inside the model; try a wider dtype"
    return f"the scores of image {', '.join(map(str, bad[:8]))} aren't finite: {cause}"


def _checked(image: Any) -> Tensor:
    if not isinstance(image, Tensor) or not image.is_floating_point() or image.ndim < 3 or not image.numel():
        got = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise ModelError(
            f"a normalised float tensor (N, C, H, W) is expected, got {got}; pictures go to sightline.explain"
        )
    return image


def is_list(layer: Layers) -> bool:
    """Whether a list of layers was given; a tuple of a layer and a number is one layer's call."""
    if isinstance(layer, tuple):
        return not (len(layer) == 2 and isinstance(layer[1], int))
    return isinstance(layer, Sequence) and not isinstance(layer, str) and not isinstance(layer, nn.Module)


def found_layers(module: nn.Module, image: Tensor, layer: Layers) -> tuple[list[Layer], str]:
    if layer is None:
        choice = chosen_layer(module, image)
        return [choice.layer], choice.why
    named: Any = layer if is_list(layer) else [layer]
    if not len(named):
        raise LayerError("an empty list of layers was given; name at least one, or none at all to have one chosen")
    return [find(engine.bare(module), one) for one in named], ""


@overload
def maps(
    module: nn.Module,
    image: Tensor,
    target: TargetLike = None,
    *,
    layer: LayerLike | None = None,
    method: str | Method = "grad-cam",
) -> Tensor: ...
@overload
def maps(
    module: nn.Module,
    image: Tensor,
    target: TargetLike = None,
    *,
    layer: list[Any],
    method: str | Method = "grad-cam",
) -> list[Tensor]: ...
def maps(
    module: nn.Module,
    image: Tensor,
    target: TargetLike = None,
    *,
    layer: Any = None,
    method: str | Method = "grad-cam",
) -> Tensor | list[Tensor]:
    """Bare tensors in, bare tensors out: the raw maps (N, h, w) of images (N, C, H, W) at the layer's resolution.

    `target` is a class index for every image, a list of N (one each), a list of N lists (several
    each: maps are (N, K, h, w)), a tensor of indices, a callable on the output, or None for the
    predicted class. `layer` is a module, a dotted name, either with the number of a call, a list of
    those (a list of maps comes back), or None to have the last feature map with space chosen.
    Raises LayerError, TargetError, MethodError and ModelError.
    """
    image, rule = _checked(image), method_of(method)
    asking = question(target, Labels(()), len(image))
    layers, _ = found_layers(module, image, layer)
    result = ask(module, image, asking, layers, [rule])
    wide = asking.several or result.scores.shape[1] != 1
    found = [row[0] if wide else row[0][:, 0] for row in result.maps]
    return found if is_list(layer) else found[0]


def grad_cam(module: nn.Module, image: Tensor, target: TargetLike = None, *, layer: Any = None) -> Any:
    """Grad-CAM of any network: raw maps (N, h, w), as `maps` gives them by default."""
    return maps(module, image, target, layer=layer)
