"""Origin: by which model, at which layer and how maps were made, whatever they are maps of."""

from dataclasses import dataclass, fields
from typing import Any

from sightline.ask import Found
from sightline.model import Model
from sightline.targets import Asked

NO_LAYER = "image"
NO_LAYER_WHY = "the method asks about no layer"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """`layer_why` says why a layer was chosen where none was named; `passes` what one target cost."""

    model: str
    source: str
    weights_hash: str
    layer: str
    layer_why: str
    method: str
    options: dict[str, Any]
    signed: bool
    seed: int
    passes: str

    @classmethod
    def of(cls, model: Model, found: Found, why: str, seed: int) -> "Origin":
        """The origin of what a method found, at a layer chosen for the reason `why`."""
        return Origin(
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
        )

    @property
    def origin(self) -> dict[str, Any]:
        """The fields above, by name."""
        return {each.name: getattr(self, each.name) for each in fields(Origin)}

    @property
    def how(self) -> str:
        """Method, layer (where the method asks about one) and model in words."""
        where = "" if self.layer == NO_LAYER else f" at {self.layer}"
        return f"{self.method}{where}, {self.model}"


@dataclass(frozen=True, kw_only=True)
class Several(Origin):
    """Maps of several targets beside one another: what was asked, and each one's probability, if it has one."""

    asked: tuple[Asked, ...]
    probabilities: tuple[float | None, ...]

    def __len__(self) -> int:
        return len(self.asked)

    def title(self, target: int = 0) -> str:
        """Target, method, layer (where the method asks about one) and model in words."""
        return f"{self.asked[target].name}: {self.how}"

    def told(self, target: int = 0) -> dict[str, Any]:
        """What there is to say of one target's maps, whatever they are maps of, as JSON values."""
        known = self.origin
        del known["signed"]
        return {"target": self.asked[target].facts, "probability": self.probabilities[target]} | known
