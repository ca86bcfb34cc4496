"""Composition: a method made of methods, smoothed over noise, over flips and scales, over layers, or multiplied.

Each gives a Method like any other, composable in turn. What is true of it follows from what it is
made of; its cost is at most what is stated, since passes that find the plain image's scores are
shared.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from functools import reduce, wraps
from typing import Any

import torch
from torch import Tensor

from sightline.errors import MethodError
from sightline.methods.grids import positions, resized
from sightline.methods.smooth_grad import noisy
from sightline.types import Kind, Maps, Method, Needs, Questions

Rule = Callable[..., Maps]

FUSIONS: dict[str, Callable[[Tensor], Maps]] = {
    "mean": lambda maps: maps.mean(0),
    "max": lambda maps: maps.amax(0),
    "product": lambda maps: maps.prod(0),
}
"""How `over_layers` makes one map of several (layers, N, K, h, w)."""


def over_noise(method: Method, *, samples: int = 25, noise: float = 0.15) -> Method:
    """The mean of a method's maps over noise added to the image; the noise is SmoothGrad's."""

    def rule(ask: Questions, *, generator: torch.Generator, samples: int = samples, noise: float = noise) -> Maps:
        total = reduce(torch.add, (ask.maps(method, image) for image in noisy(ask, generator, samples, noise)))
        return total / samples

    return _composed(rule, f"{method.title} over noise", f"{method.idea}, averaged over noise", [method], "samples")


def over_flips(method: Method, *, scales: Sequence[float] = (1.0,)) -> Method:
    """The mean of a method's maps of the image and its mirror image, each at several scales.

    Maps are flipped back, resized bilinearly to those of the first scale, and averaged.
    """

    def rule(ask: Questions, *, scales: Sequence[float] = tuple(scales)) -> Maps:
        if not scales or not all(scale > 0 for scale in scales):
            raise MethodError(f"images are scaled by positive factors, one at least; got scales={scales}")
        found: list[Maps] = []
        for scale in scales:
            size = [max(1, round(scale * side)) for side in ask.image.shape[-2:]]
            image = resized(ask.image, size, antialias=True)
            plain = ask.maps(method) if image is ask.image else ask.maps(method, image)
            found += [plain, ask.maps(method, image.flip(-1)).flip(-1)]
        return torch.stack([resized(maps, found[0].shape[2:]) for maps in found]).mean(0)

    idea = f"{method.idea}, averaged over flips and scales"
    return _composed(rule, f"{method.title} over flips", idea, [method], "2 * len(scales)", planar=True)


def over_layers(method: Method, *, fuse: str = "mean") -> Method:
    """A method's maps at the last layer of each resolution, fused: `mean`, `max` or `product`.

    Each map is divided by its largest absolute value (a map of zeros stays one), since layers have
    no scale in common, and resized bilinearly to the finest.
    """
    if not method.layered:
        raise MethodError(f"{method.name} gives the same map at every layer; there is nothing to fuse")

    def rule(ask: Questions, *, fuse: str = fuse) -> Maps:
        if fuse not in FUSIONS:
            raise MethodError(f"maps are fused by {', '.join(map(repr, FUSIONS))}, not by {fuse!r}")
        if fuse == "product" and method.signed:
            raise MethodError(f"{method.name} is signed, and a product of two negative maps would be positive")
        return FUSIONS[fuse](torch.stack(together([by_largest(maps) for maps in at_layers(ask, method)])))

    return _composed(rule, f"{method.title} over layers", f"{method.idea}, at every resolution", [method], "layers")


def product(one: Method, other: Method) -> Method:
    """Two methods' maps multiplied; the other's are resized bilinearly to the one's."""
    if one.signed and other.signed:
        raise MethodError(
            f"{one.name} and {other.name} are both signed, and a product of two negatives would be positive"
        )

    def rule(ask: Questions) -> Maps:
        fine = ask.maps(one)
        return fine * resized(ask.maps(other), fine.shape[2:])

    return _composed(rule, f"{one.title} times {other.title}", f"{one.idea}, and {other.idea}", [one, other])


def at_layers(ask: Questions, method: Method) -> list[Maps]:
    """A method's maps (N, K, h, w) at the last layer of each resolution, early ones first."""
    return [ask.maps(method, layer=layer) for layer in range(len(ask.layers()))]


def together(maps: Sequence[Maps]) -> list[Maps]:
    """Maps (N, K, h, w) of several resolutions, resized bilinearly to the greatest height and width among them."""
    size = [max(sides) for sides in zip(*(each.shape[2:] for each in maps), strict=True)]
    return [resized(each, size) for each in maps]


def by_largest(maps: Maps) -> Maps:
    """Maps (N, K, h, w) divided by their largest absolute value; zeros stay zeros."""
    largest = maps.abs().amax(positions(maps), keepdim=True)
    return (maps / largest).where(largest != 0, 0.0)


def _composed(
    rule: Rule, name: str, idea: str, inner: Sequence[Method], times: str = "1", *, planar: bool = False
) -> Method:
    """A row for a rule over other methods, each asked `times` times."""
    return Method(
        name,
        rule if "generator" in inspect.signature(rule).parameters else _drawing(rule, inner),
        " and ".join(dict.fromkeys(method.paper for method in inner)),
        idea,
        kind=Kind.ASKING,
        signed=any(method.signed for method in inner),
        discriminative=any(method.discriminative for method in inner),
        layered=any(method.layered for method in inner),
        planar=planar or any(method.planar for method in inner),
        needs=next((method.needs for method in inner if method.needs), Needs.NOTHING),
        forwards=_cost([_filled(method, method.forwards) for method in inner], times, once=times != "1"),
        backwards=_cost([_filled(method, method.backwards) for method in inner], times),
        heads=_cost([_filled(method, method.heads) for method in inner], times),
    )


def _drawing(rule: Rule, inner: Sequence[Method]) -> Rule:
    """The rule, said to take a generator where an inner method does: the question's own seed is given to that one."""
    if not any(method.seeded for method in inner):
        return rule

    @wraps(rule)
    def drawing(ask: Questions, *, generator: torch.Generator, **options: Any) -> Maps:
        return rule(ask, **options)

    taken = inspect.signature(rule)
    drawn = inspect.Parameter("generator", inspect.Parameter.KEYWORD_ONLY, annotation=torch.Generator)
    ask, *options = taken.parameters.values()
    drawing.__signature__ = taken.replace(parameters=[ask, drawn, *options])  # type: ignore[attr-defined]
    return drawing


def _filled(method: Method, formula: str) -> str:
    """A cost formula of a method with the values of its options in their places."""
    values = method.choices
    return re.sub(r"\w+", lambda word: repr(values[word[0]]) if word[0] in values else word[0], formula)


def _cost(formulas: Sequence[str], times: str, *, once: bool = False) -> str:
    """`times` times the formulas' sum; and once more for a pass over the plain image, for its scores or its layers."""
    total = " + ".join(formula for formula in formulas if formula != "0") or "0"
    if total != "0" and times != "1":
        total = times if total == "1" else f"{times} * ({total})" if " " in total else f"{times} * {total}"
    return f"1 + {total}" if once else total
