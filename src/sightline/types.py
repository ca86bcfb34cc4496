"""The vocabulary: tensors' shapes said once, what a method is, and what it may ask of a model."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol, Self, TypeVar, cast

import torch
from torch import Tensor

from sightline.errors import MethodError

Item = TypeVar("Item")
Activations = Tensor  # (..., C, h, w): what a layer gave, as a grid of positions
Gradients = (
    Tensor  # (..., C, h, w): of the score with respect to the activations; leading sizes broadcast against theirs
)
Maps = Tensor  # (..., h, w): raw, nothing normalised, clipped or resized
Images = Tensor  # (N, C, H, W): what the model sees
Scores = Tensor  # (N, K): K questions of each of N images


class Kind(StrEnum):
    """What a method's rule is given: activations with gradients, activations alone, or the model to ask."""

    GRADIENT = "gradients"
    ACTIVATION = "activations"
    ASKING = "the model"


class Relu(StrEnum):
    """How a ReLU passes a gradient back."""

    PLAIN = "where its input was positive"
    GUIDED = "where its input was positive, and only a positive gradient"
    DECONV = "only a positive gradient, whatever its input"


class Share(StrEnum):
    """How a weighted sum's relevance is shared among what it summed; see engine/rules.py for the formulas."""

    EPSILON = "by contribution"
    PLUS = "by positive contribution"
    GAMMA = "by contribution, positive ones favoured"
    FLAT = "equally"


@dataclass(frozen=True, slots=True)
class Sharing:
    """Which rule a propagation takes for convolutions, linear layers, those that read the image, and plain sums.

    It starts as the score or, as a `probability`, at 1; then a score that is negated starts at the dual
    of its unit, and activations that give negative values are refused.
    """

    convolution: Share
    linear: Share
    first: Share
    sums: Share = Share.EPSILON  # means, average poolings, residual sums
    epsilon: float = 1e-6
    gamma: float = 0.25
    probability: bool = False
    attention: bool = False  # whether attention, layer norms and products of activations have rules too


@dataclass(frozen=True, slots=True)
class Attention:
    """One self-attention of a transformer: T tokens, of which the first `prefix` have no place in the grid.

    `weights` (N, 1, heads, T, T) are after softmax, row = the token that looks; `gradients`
    (N, K, heads, T, T) those of the scores with respect to them.
    """

    weights: Tensor
    gradients: Tensor
    prefix: int
    grid: tuple[int, ...]


class Questions(Protocol):
    """What a method may ask about N images, K targets each, at one layer; every question stays the same.

    Activations and gradients on a grid of another rank than two are seen as one row, and so may maps
    at the layer be; images and other methods' maps keep their rank, (H, W) standing for (L,), (D, H, W) or
    (T, H, W) below. Nothing here carries a graph: tensors in,
    tensors out. What is asked is counted, so that a method's cost can be stated and checked.
    """

    @property
    def image(self) -> Images:
        """The images (N, C, H, W) that are asked about."""
        ...

    @property
    def scores(self) -> Scores:
        """Their scores (N, K)."""
        ...

    @property
    def grid(self) -> tuple[int, ...]:
        """The layer's grid of positions, of the images' rank: what activations and gradients show as (h, w)."""
        ...

    def activations(self, image: Images | None = None) -> Activations:
        """The layer's activations (N, 1, C, h, w) for the images, or for others in their place."""
        ...

    def at_layer(self, image: Images | None = None) -> tuple[Activations, Gradients]:
        """The layer's activations (N, 1, C, h, w) and the scores' gradients (N, K, C, h, w) there."""
        ...

    def curvature(self) -> tuple[Activations, Gradients, Tensor]:
        """As `at_layer`, and H A (N, K, C, h, w): each score's Hessian there times the activations."""
        ...

    def at_image(self, image: Images | None = None, relu: Relu = Relu.PLAIN) -> Tensor:
        """The scores' gradients (N, K, C, H, W) in the image. Raises MethodError where a ReLU rule isn't defined."""
        ...

    def biases(self) -> tuple[Tensor, list[Tensor]]:
        """The gradients (N, K, C, H, W) in the image, and for each layer with a bias, gradient times bias there."""
        ...

    def of_images(self, images: Tensor) -> Tensor:
        """Scores (N, m, K) of m other versions (N, m, C, H, W) of each image."""
        ...

    def confidence(self, images: Tensor) -> Tensor:
        """As `of_images`, in 0..1: the class's probability; for a contrast that of the one against the other."""
        ...

    def of_activations(self, edited: Tensor) -> Tensor:
        """Scores (N, m, K) after m other versions (N, m, C, h, w) of the layer's activations; the head runs alone."""
        ...

    def parts(self, count: int, *, heads: bool = False) -> Iterator[slice]:
        """range(count) in slices as large as one pass (of the head) takes, so that memory doesn't grow with `count`."""
        ...

    def told(self, items: Iterable[Item], count: int) -> Iterator[Item]:
        """The items, of which there are `count`, telling after each how far it is."""
        ...

    def maps(self, method: "Method", image: Images | None = None, layer: int | None = None) -> Maps:
        """Another method's maps (N, K, h, w) of the same question; `layer` counts `layers()`."""
        ...

    def layers(self) -> Sequence[str]:
        """The last feature map of each resolution, early ones first; the layer asked about is the last."""
        ...

    def attention(self) -> list[Attention]:
        """Every self-attention, first to last. Raises MethodError where there is none over the whole grid."""
        ...

    def layer_attention(self) -> list[Attention]:
        """As `attention`, each with the gradients of its own block's score: its mean token read by the model's head."""
        ...

    def relevance(self, sharing: Sharing, *, to_image: bool = False, contrast: bool = False) -> Tensor:
        """Relevance (N, K, C, h, w) at the layer, or in the image. Raises MethodError naming what has no rule."""
        ...

    def climb(
        self,
        start: Tensor,
        image_of: Callable[[Tensor], Images],
        loss: Callable[[Tensor, Tensor], Tensor],
        *,
        steps: int,
        rate: float,
    ) -> Tensor:
        """Variables (N, K, ...) after `steps` of Adam down `loss(scores, variables)`.

        `image_of(variables (N, ...))` gives images (N, C, H, W); loss takes scores (N,) and variables (N, ...)
        and gives (N,).
        """
        ...


GradientRule = Callable[[Activations, Gradients], Maps]
ActivationRule = Callable[[Activations], Maps]
AskingRule = Callable[..., Maps]
"""(ask: Questions, *, options ...) -> Maps; one that draws takes `generator: torch.Generator` first of its options."""


class Needs(StrEnum):
    """What a model must have for a method to be defined on it; any other is refused by name."""

    NOTHING = ""
    LINEAR_HEAD = "a linear head"
    RELU = "ReLUs only"
    ATTENTION = "attention over the whole grid"
    RULES = "operations with a rule"
    BIASES = "a piecewise linear net"
    CAPTUM = "the extra `superpixels`"


@dataclass(frozen=True, slots=True)
class Method:
    """A row of the table of methods: the rule and the facts about it, which one test verifies for all rows.

    `forwards`, `backwards` and `heads` (passes through what follows the layer only) are what one
    target of one image costs, written in the rule's options and in `channels`, `positions`, `layers` and
    `windows`; an image is (C, H, W) here, and has more cells to mute in three dimensions.
    """

    name: str
    rule: GradientRule | ActivationRule | AskingRule
    paper: str
    idea: str
    kind: Kind = Kind.GRADIENT
    signed: bool = False  # maps may be negative: evidence against
    discriminative: bool = True  # the map depends on the target
    layered: bool = True  # the map depends on the layer
    planar: bool = False  # defined on images (N, C, H, W) only, not on signals, volumes and clips
    needs: Needs = Needs.NOTHING
    forwards: str = "1"
    backwards: str = "1"
    heads: str = "0"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seeded(self) -> bool:
        """Whether the rule draws random numbers, from the generator that it is given."""
        return "generator" in inspect.signature(self.rule).parameters

    @property
    def title(self) -> str:
        """The name, with the options that were set: `rise:masks=500`."""
        return ":".join([self.name, *(f"{name}={value}" for name, value in self.options.items())])

    @property
    def choices(self) -> dict[str, Any]:
        """The options that the rule takes, with their values."""
        taken = inspect.signature(self.rule).parameters.values()
        named = {p.name: p.default for p in taken if p.kind is p.KEYWORD_ONLY and p.name != "generator"}
        return named | dict(self.options)

    @property
    def cost(self) -> str:
        """What one target of one image costs, in passes; a pass back goes no further than the method asks."""
        counted = (("forward", self.forwards), ("back", self.backwards), ("head", self.heads))
        words = [
            f"{count} {name}{'' if count == '1' or name == 'back' else 's'}" for name, count in counted if count != "0"
        ]
        return ", ".join(words)

    def set(self, **options: Any) -> Self:
        """The method with some of its options set. Raises MethodError for one that it doesn't have."""
        unknown = [name for name in options if name not in self.choices]
        if unknown:
            listed = ", ".join(f"{name}={value}" for name, value in self.choices.items()) or "none"
            raise MethodError(f"{self.name} has no option {unknown[0]!r}; its options: {listed}")
        return replace(self, options={**self.options, **options})

    def maps(self, activations: Activations, gradients: Gradients | None) -> Maps:
        """The rule applied to activations (..., C, h, w) and, where the kind asks for them, gradients."""
        match self.kind:
            case Kind.ACTIVATION:
                return cast(ActivationRule, self.rule)(activations, **self.options)
            case Kind.GRADIENT:
                if gradients is None:
                    raise TypeError(f"{self.name} needs gradients")
                return cast(GradientRule, self.rule)(activations, gradients, **self.options)
            case Kind.ASKING:
                raise TypeError(f"{self.name} asks the model; tensors alone won't do")

    def answer(self, ask: Questions, seed: int) -> Maps:
        """Maps (N, K, h, w), of any resolution, by a rule that asks; the seed fixes what it draws."""
        drawn = {"generator": torch.Generator().manual_seed(seed)} if self.seeded else {}
        return cast(AskingRule, self.rule)(ask, **drawn, **self.options)
