"""Layers: names <-> modules, the grid in a layer's output, and the layer to explain when none is named."""

import difflib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from torch import Tensor, nn
from torch.nn.modules import dropout, pooling

from sightline.errors import LayerNotFound, NoSpace

LayerLike = str | nn.Module | tuple[str | nn.Module, int]
"""A dotted name, a module, or (either, which call) for a module that one forward pass calls several times.

Of a layer that gives several tensors, as a feature pyramid does, `NAME:PART` is one: the key of a mapping, or a place.
"""

MOST_PREFIX_TOKENS = 32

_SHAPE_ONLY = (
    nn.Identity, nn.Flatten, nn.Unflatten, nn.Linear, nn.Softmax, dropout._DropoutNd,
    pooling._MaxPoolNd, pooling._AvgPoolNd, pooling._AdaptiveAvgPoolNd, pooling._AdaptiveMaxPoolNd,
)  # fmt: skip
_SHAPE_ONLY_NAMES = (
    *("Permute", "DropPath", "StochasticDepth"),  # torchvision's, timm's and Hugging Face's
    *("MaxPooling2D", "AveragePooling2D", "Dropout", "SpatialDropout2D"),  # Keras's
    *("OnnxTranspose", "OnnxReshape"),
)


@dataclass(frozen=True, slots=True)
class Layer:
    """A module of the model, under its dotted name; `call` counts from 0, None is the last call of a forward pass.

    `part` is a key or a place in what the module gives, where that isn't one tensor; None is the first tensor in it.
    """

    name: str
    module: nn.Module
    call: int | None = None
    part: str | None = None

    @property
    def asked(self) -> str:
        """The name by which it is found, its part included."""
        return self.name if self.part is None else f"{self.name}:{self.part}"

    def __str__(self) -> str:
        return self.asked if self.call is None else f"{self.asked} (call {self.call})"


def find(model: nn.Module, layer: LayerLike) -> Layer:
    """The layer that `layer` names in `model`; `layer4[-1]` may be written for `layer4.1`, `backbone:pool` for a part.

    Raises LayerNotFound, with the nearest names.
    """
    if isinstance(layer, tuple):
        found = find(model, layer[0])
        return Layer(found.name, found.module, layer[1], found.part)
    names = {name.replace("_orig_mod.", ""): m for name, m in model.named_modules(remove_duplicate=False)}
    if isinstance(layer, nn.Module):
        for name, module in names.items():
            if module is layer:
                return Layer(name, module)
        raise LayerNotFound(
            f"the {type(layer).__name__} given is not part of this {type(model).__name__}; "
            "pass one of its own modules or a name from model.named_modules()"
        )
    name = _plainly(names, layer)
    if name and name in names:
        return Layer(name, names[name])
    whole, _, part = layer.rpartition(":")
    if whole and (own := _plainly(names, whole)) in names:
        return Layer(own, names[own], part=part)
    near = difflib.get_close_matches(name, [n for n in names if n], n=4, cutoff=0.4) or [n for n in names if n][-4:]
    listed = ", ".join(map(repr, near)) or "none, it has none"
    raise LayerNotFound(f"no layer {layer!r} in {type(_inside(model)).__name__}; nearest: {listed}")


def _inside(model: nn.Module) -> nn.Module:
    """The module itself, of one that is called in another way."""
    inner = getattr(model, "module", None)
    return inner if isinstance(inner, nn.Module) and hasattr(model, "call") else model


def same_in(model: nn.Module, layers: Sequence[Layer]) -> list[Layer]:
    """The layers of the same names and calls in another model. Raises LayerNotFound where it has none."""
    return [find(model, layer.asked if layer.call is None else (layer.asked, layer.call)) for layer in layers]


def _plainly(names: dict[str, nn.Module], name: str) -> str:
    """A name as `model.named_modules()` has it."""
    name = re.sub(r"\[(-?\d+)\]", r".\1", name)
    return _counted_from_the_end(names, name.removeprefix("module.").replace("_orig_mod.", ""))


def _counted_from_the_end(names: dict[str, nn.Module], name: str) -> str:
    parts: list[str] = []
    for part in name.split("."):
        container = names.get(".".join(parts))
        if re.fullmatch(r"-\d+", part) and isinstance(container, nn.Sequential | nn.ModuleList):
            part = str(len(container) + int(part))
        parts.append(part)
    return ".".join(parts)


class Order(Enum):
    """How a layer's output is laid out."""

    CHANNELS_FIRST = "channels first"
    CHANNELS_LAST = "channels last"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the grid of positions lies in a layer's output, as `to_grid` finds it."""

    order: Order
    grid: tuple[int, ...]
    prefix: int = 0

    def to_grid(self, values: Tensor) -> Tensor:
        """Values (..., as the layer gives them) -> a view (..., C, *grid)."""
        match self.order:
            case Order.CHANNELS_FIRST:
                return values
            case Order.CHANNELS_LAST:
                return values.movedim(-1, -1 - len(self.grid))
            case Order.TOKENS:
                patches = values[..., self.prefix :, :].transpose(-1, -2)
                return patches.view(*patches.shape[:-1], *self.grid)

    def __str__(self) -> str:
        return " x ".join(map(str, self.grid))


def layout(shape: Sequence[int], space: Sequence[int], *, strict: bool = False) -> Layout | None:
    """The layout of an output of `shape` (N, ...) in a model whose image has the sizes `space`, or None.

    A grid has the image's aspect to within one cell. Where no reading of an output of the
    image's own rank has, channels come first, unless `strict`. Tokens (N, T, C) are read as the
    grid of an integer stride after as few prefix tokens (class, registers, distillation) as possible.
    """
    rank = len(space)
    if len(shape) == rank + 2:
        first, last = tuple(shape[2:]), tuple(shape[1:-1])
        if _fits(first, space):
            return Layout(Order.CHANNELS_FIRST, first)
        if _fits(last, space):
            return Layout(Order.CHANNELS_LAST, last)
        return None if strict or math.prod(first) <= 1 else Layout(Order.CHANNELS_FIRST, first)
    if len(shape) == 3:
        for prefix in range(MOST_PREFIX_TOKENS + 1):
            for grid in _strided(space):
                if math.prod(grid) == shape[1] - prefix:
                    return Layout(Order.TOKENS, grid, prefix)
    return None


def _fits(grid: tuple[int, ...], space: Sequence[int]) -> bool:
    """Whether one stride makes this grid of the image, to within a cell; before height and width, as in time, any."""
    if math.prod(grid) <= 1 or any(g > s for g, s in zip(grid, space, strict=True)):
        return False
    plane = list(zip(grid[-2:], space[-2:], strict=True))
    strides = [s / g for g, s in plane]
    return any(all(abs(s / stride - g) <= 1 for g, s in plane) for stride in (min(strides), max(strides)))


def _strided(space: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """The grids that patches of one integer size make of an image, exact divisors first."""
    strides = sorted(range(1, max(space) + 1), key=lambda stride: any(s % stride for s in space))
    for stride in strides:
        down = tuple(s // stride for s in space)
        if math.prod(down) > 1:
            yield down
        up = tuple(-(-s // stride) for s in space)
        if up != down and math.prod(up) > 1:
            yield up


def layout_of(layer: Layer, value: Tensor, space: Sequence[int]) -> Layout:
    """The layout of a layer's output; raises NoSpace, saying what it gave."""
    found = layout(value.shape, space)
    if found is None or math.prod(found.grid) <= 1:
        raise NoSpace(
            f"layer {layer.name!r} ({type(layer.module).__name__}) gives {tuple(value.shape)} for an image of "
            f"{tuple(space)}: no grid of positions; name a layer before pooling, or none to have one chosen"
        )
    return found


@dataclass(frozen=True, slots=True)
class Call:
    """A module's last of `times` calls in one pass: its output's shape; a `feature` unless it pools or reshapes."""

    layer: Layer
    shape: tuple[int, ...]
    feature: bool
    times: int = 1


@dataclass(frozen=True, slots=True)
class Choice:
    """The layer chosen, and why in words."""

    layer: Layer
    why: str


def is_feature(module: nn.Module) -> bool:
    """Whether a module computes features, rather than pool, reshape, drop or project tokens."""
    where, _, kind = str(getattr(module, "_ty", type(module).__name__)).rpartition(".")  # an exported program's was
    if where in (pooling.__name__, dropout.__name__) or kind in _SHAPE_ONLY_NAMES:
        return False
    exported = where.startswith("torch.nn.") and kind in {each.__name__ for each in _SHAPE_ONLY}
    return not exported and not isinstance(module, _SHAPE_ONLY)


Reach = Callable[[Call, Layout], tuple[int, int]]
"""How many scores depend on the first channel of a call's output, and how many scores there are."""


def choose(calls: Sequence[Call], space: Sequence[int], reach: Reach | None) -> Choice:
    """The last feature map with space on which the scores depend.

    Left out are maps of the scores themselves (a channel reaches one score only, as in
    SqueezeNet's last convolution) and maps cut off from the scores: those of an auxiliary head, and the patch
    tokens of a class-token ViT's last block, from where the choice steps back to the layer before. Tokens count as
    positions first of all where they are patches of the image, as far as can be told. Without
    `reach`, as for a model whose scores aren't finite, the last feature map is taken unseen.
    """
    if not calls:
        raise NoSpace(
            "this model has no layers that can be read; ask about its image, by a method such as occlusion, rise or "
            "saliency"
        )
    patches = _patched(calls, space)
    for strict, any_tokens in ((True, False), (False, False), (True, True), (False, True)):
        cut: Layer | None = None
        stream: int | None = None
        for call in reversed(calls):
            found = layout(call.shape, space, strict=strict)
            if not call.feature or found is None or math.prod(found.grid) <= 1:
                continue
            if found.order is Order.TOKENS and not any_tokens and found.grid not in patches:
                continue  # a sequence of something else, as of a question's words
            channels = call.shape[1] if found.order is Order.CHANNELS_FIRST else call.shape[-1]
            if stream not in (None, channels):
                continue
            reached, scores = reach(call, found) if reach else (channels, channels + 1)
            if reached == 0 and found.order is Order.TOKENS:
                cut, stream = cut or call.layer, channels  # stepping back stays in one stream of tokens
            elif reached > 1 or (scores == 1 and channels > 1):
                why = f"the last feature map with space, {found}"
                if cut is not None:
                    why += f"; one step back from {cut.name}, whose positions don't reach the score"
                return Choice(call.layer, why)
    raise NoSpace(
        f"no layer of this model has both space and a way to the score for an image of {tuple(space)}; name a layer"
    )


def _patched(calls: Sequence[Call], space: Sequence[int]) -> set[tuple[int, ...]]:
    """The grids of tokens that are patches of the image: a map of that grid came before, or tokens of twice its sides.

    The latter where a transformer merges four patches to one.
    """
    drawn: set[tuple[int, ...]] = set()
    patches: set[tuple[int, ...]] = set()
    for call in calls:
        found = layout(call.shape, space)
        if found is not None and found.order is not Order.TOKENS:
            drawn.add(found.grid)
        elif found is not None:
            halved = {tuple(-(-side // 2) for side in grid) for grid in patches}
            patches |= {found.grid} & (drawn | halved)
    return patches


def choose_for_all(calls: Sequence[Call], space: Sequence[int], reach: Reach) -> Choice:
    """The last feature map with space on which every score of one image depends, as a detector's backbone gives it.

    Left out are the levels of a pyramid, of which a candidate sees one, maps of single classes, and what is cut out
    for each candidate. Raises NoSpace where there is none.
    """
    for call in reversed(calls):
        found = layout(call.shape, space, strict=True)
        if call.feature and found is not None and math.prod(found.grid) > 1 and call.shape[0] == 1:
            reached, scores = reach(call, found)
            if reached == scores:
                return Choice(call.layer, f"the last feature map with space that all boxes depend on, {found}")
    raise NoSpace(f"no layer of this model has space and a way to all of its boxes for an image of {tuple(space)}")


def stages(calls: Sequence[Call], space: Sequence[int], last: Layer) -> list[Layer]:
    """The last feature map of each resolution up to the layer `last`, early ones first; `last` is the last of them."""
    found: dict[tuple[int, ...], Layer] = {}
    for call in calls:
        grid = layout(call.shape, space, strict=True)
        if call.layer.module is last.module:
            if grid is not None:
                found.pop(grid.grid, None)
            break
        if call.feature and grid is not None:
            found.pop(grid.grid, None)
            found[grid.grid] = call.layer
    return [*found.values(), last]
