"""Ask a module about an image: target, engine and method joined into raw maps. Bare tensors in, bare tensors out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, overload

from torch import Tensor, nn

from sightline import engine
from sightline.asking import Asking, Passes, Progress, Session
from sightline.errors import LayerError, MethodError, ModelError, SightlineError
from sightline.layers import Choice, Layer, LayerLike, choose, choose_for_all, find
from sightline.methods import method as method_of
from sightline.targets import Asked, Candidates, Labels, Question, Target, TargetLike, logits, question
from sightline.types import Kind, Method, Needs

Layers = LayerLike | Sequence[LayerLike] | None


Watch = Callable[[Method], Progress | None]
"""Given each method that asks the model itself before it begins: what to tell how far it is, or None."""


def unwatched(method: Method) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Found:
    """One method's maps (N, K, h, w), at a layer or, where it asks about none, at None; what they cost each image."""

    layer: Layer | None
    method: Method
    maps: Tensor
    passes: Passes


@dataclass(frozen=True)
class Result:
    """The output, scores (N, K), their questions (N rows of K), and what was found."""

    output: Any
    scores: Tensor
    asked: list[list[Asked]]
    found: list[Found]


def chosen_layer(module: nn.Module, image: Tensor, read: Target = logits) -> Choice:
    """The layer that is explained where none is named, for the scores that `read` finds; one image is looked at.

    Raises NoSpace where no layer will do.
    """
    module, first = engine.bare(module), image[:1]
    calls, output = engine.trace(module, first)
    if isinstance(output, Candidates):
        return choose_for_all(calls, image.shape[2:], partial(engine.reach, module, first, _of_candidates))
    finite = bool(read(output).isfinite().all())
    reach = partial(engine.reach, module, first, read) if finite else None
    return choose(calls, image.shape[2:], reach)


def _read(target: Target | None, output: Any) -> Tensor:
    """The logits, or what a target of one's own reads where there are none."""
    try:
        return logits(output)
    except ModelError:
        if target is None:
            raise
        scores = target(output)
        return scores[:, None] if scores.ndim == 1 else scores


def _of_candidates(output: Candidates) -> Tensor:
    return output.logits.flatten(1)


def ask(
    module: nn.Module,
    image: Tensor,
    asking: Question,
    layers: Sequence[Layer],
    methods: Sequence[Method],
    *,
    seed: int = 0,
    progress: Watch = unwatched,
    refused: list[SightlineError] | None = None,
) -> Result:
    """Answer one question at several layers by several methods, layers first, then methods.

    Methods that read activations and gradients share one forward pass, and one pass back per target.
    Methods that ask about no layer answer once. Raises what the engine and the target raise;
    ModelError where scores aren't finite, MethodError or LayerError where a method isn't defined on the
    model: where a list `refused` is given, such methods are left out and their errors put there.
    """
    module = engine.bare(module)
    session = Session(module, image.detach(), asking, seed)
    found: dict[tuple[int, int], Found] = {}
    with engine.borrowed(module):
        shared = [
            by for by, method in enumerate(methods)
            if method.kind is not Kind.ASKING and (refused is None or method.needs is not Needs.LINEAR_HEAD)
        ]  # fmt: skip
        if shared:
            one = Asking(session, None)
            maps = one.tensors(layers, [methods[by] for by in shared])
            for at, row in enumerate(maps):
                for by, each in zip(shared, row, strict=True):
                    back = int(methods[by].kind is Kind.GRADIENT)
                    found[at, by] = Found(layers[at], methods[by], each, Passes(1, back))
        for by, method in enumerate(methods):
            if by in shared:
                continue
            session.progress = progress(method)
            for at, layer in enumerate(layers if method.layered else [None]):
                one = Asking(session, layer)
                try:
                    found[at, by] = Found(layer, method, one.answer(method), one.passes)
                except (MethodError, LayerError) as error:
                    if refused is None:
                        raise
                    refused.append(error)
                    break
        scores = Asking(session, None).scores
    return Result(session.output, scores, session.asked, [found[key] for key in sorted(found)])


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


def found_layers(
    module: nn.Module, image: Tensor, layer: Layers, asking: Question | None = None
) -> tuple[list[Layer], str]:
    """The layers that are meant, or the one chosen, by the logits or else by what is asked; and why."""
    if layer is None:
        choice = chosen_layer(module, image, partial(_read, None if asking is None else asking.target))
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
    inputs: Mapping[str, Any] | None = None,
    layer: LayerLike | None = None,
    method: str | Method = "grad-cam",
    seed: int = 0,
) -> Tensor: ...
@overload
def maps(
    module: nn.Module,
    image: Tensor,
    target: TargetLike = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    layer: list[Any],
    method: str | Method = "grad-cam",
    seed: int = 0,
) -> list[Tensor]: ...
def maps(
    module: nn.Module,
    image: Tensor,
    target: TargetLike = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    layer: Any = None,
    method: str | Method = "grad-cam",
    seed: int = 0,
) -> Tensor | list[Tensor]:
    """Bare tensors in, bare tensors out: the raw maps (N, h, w) of images (N, C, H, W), at the method's resolution.

    `target` is a class index for every image, a list of N (one each), a list of N lists (several
    each: maps are (N, K, h, w)), a tensor of indices, a callable on the output, or None for the
    predicted class. `inputs` are the model's other inputs by name: tensors of a row per image, or of one for all, and
    anything else as it is. `layer` is a module, a dotted name, either with the number of a call, a list of
    those (a list of maps comes back), or None to have the last feature map with space chosen; methods
    that ask about no layer leave it aside, and give one map. `method` is a name, with options where
    wanted (`rise:masks=4000`), or a Method; `seed` fixes what methods that draw numbers draw.
    Raises LayerError, TargetError, MethodError and ModelError.
    """
    image, rule = _checked(image), method_of(method)
    if inputs is not None:
        module = engine.Adapted(module, engine.Inputs(inputs).check(len(image)))
    asking = question(target, Labels(()), len(image))
    layers = found_layers(module, image, layer, asking)[0] if rule.layered else []
    result = ask(module, image, asking, layers, [rule], seed=seed)
    wide = asking.several or result.scores.shape[1] != 1
    found = [one.maps if wide else one.maps[:, 0] for one in result.found]
    return found if is_list(layer) else found[0]


def grad_cam(module: nn.Module, image: Tensor, target: TargetLike = None, *, layer: Any = None) -> Any:
    """Grad-CAM of any network: raw maps (N, h, w), as `maps` gives them by default."""
    return maps(module, image, target, layer=layer)
