"""The vocabulary: tensors' shapes said once, and what a method is."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from torch import Tensor

Activations = Tensor  # (..., C, h, w): what a layer gave, as a grid of positions
Gradients = (
    Tensor  # (..., C, h, w): of the score with respect to the activations; leading sizes broadcast against theirs
)
Maps = Tensor  # (..., h, w): raw, nothing normalised, clipped or resized

GradientRule = Callable[[Activations, Gradients], Maps]
ActivationRule = Callable[[Activations], Maps]


class Kind(StrEnum):
    """What a method's rule is given."""

    GRADIENT = "activations and gradients"
    ACTIVATION = "activations"


@dataclass(frozen=True, slots=True)
class Method:
    """A row of the table of methods: the rule and the facts about it, which one test verifies for all rows."""

    name: str
    rule: GradientRule | ActivationRule
    paper: str
    idea: str
    kind: Kind = Kind.GRADIENT
    signed: bool = False  # maps may be negative: evidence against
    discriminative: bool = True  # the map depends on the target
    linear_head: bool = False  # defined only where the head is linear in the layer
    backwards: int = 1  # passes back from the score to the layer, after one forward pass

    @property
    def cost(self) -> str:
        """What one target costs, in passes; the pass back goes from the score to the layer only."""
        return "1 forward, 1 back" if self.backwards else "1 forward"

    def maps(self, activations: Activations, gradients: Gradients | None) -> Maps:
        """The rule applied: activations (..., C, h, w) and, where the kind asks for them, gradients."""
        match self.kind:
            case Kind.ACTIVATION:
                return cast(ActivationRule, self.rule)(activations)
            case Kind.GRADIENT:
                if gradients is None:
                    raise TypeError(f"{self.name} needs gradients")
                return cast(GradientRule, self.rule)(activations, gradients)
