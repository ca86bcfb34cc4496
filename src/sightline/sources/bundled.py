"""The nets embedded in the package: weights and a card each, no download."""

import json
from importlib import resources
from typing import Any

from safetensors.torch import load as read_bytes

from sightline.bundled.net import SmallResNet
from sightline.errors import ModelError
from sightline.model import Model
from sightline.preprocess import Preprocess
from sightline.sources.weights import fill
from sightline.targets import Labels

DEFAULT = "photos"
BUNDLED = (DEFAULT,)


def names() -> tuple[str, ...]:
    """The embedded nets."""
    return BUNDLED


def card(name: str) -> dict[str, Any]:
    """What is known about an embedded net: classes, preprocessing, data, training, figures with their commands."""
    found: dict[str, Any] = json.loads((resources.files("sightline.bundled") / f"{name}.json").read_text("utf-8"))
    return found


def load(name: str, weights: str | None = None) -> Model:
    """An embedded net with its own weights, or `random` ones."""
    if weights not in (None, "random"):
        raise ModelError(f"no weights {weights!r} for the embedded {name}; leave them out, or give a file")
    facts = card(name)
    module = SmallResNet(len(facts["classes"]))
    if weights is None:
        fill(
            module, read_bytes((resources.files("sightline.bundled") / f"{name}.safetensors").read_bytes()), given=name
        )
    wanted: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in facts["preprocess"].items()}
    return Model(
        module=module,
        name=name,
        source="bundled",
        preprocess=Preprocess(**wanted),
        labels=Labels(tuple(row["name"] for row in facts["classes"]), tuple(row["wnid"] for row in facts["classes"])),
        note=(
            f"answered by the embedded {len(facts['classes'])}-class net, which knows only "
            f"{', '.join(row['name'] for row in facts['classes'])}; for 1000 classes: --model resnet50"
        ),
    )
