"""The nets embedded in the package, no download: each has a card, and weights that may share a file with others'."""

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from typing import Any

from safetensors.torch import load as read_bytes
from torch import Tensor, nn

from sightline.bundled.answerer import Answerer, Asking
from sightline.bundled.captioner import Captioner, CaptionWriter
from sightline.bundled.detector import small_fcos
from sightline.bundled.eye import Eye
from sightline.bundled.net import SmallResNet
from sightline.bundled.vocabulary import Vocabulary
from sightline.engine import Adapted
from sightline.errors import ModelError
from sightline.model import Model, Task
from sightline.preprocess import Preprocess
from sightline.sources.torchvision_detection import Unsuppressed
from sightline.sources.weights import fill
from sightline.targets import Labels

DEFAULT = "photos"
FILES = {
    DEFAULT: "photos",
    "shapes": "shapes",
    "shapes-random-labels": "shapes-random-labels",
    "creatures": "creatures",
    "captions": "captions",
    "questions": "questions",
    "objects": "objects",
    **{f"shortcut-{rho}-{seed}": "shortcut" for rho in ("0", "0.5", "0.9", "1") for seed in (0, 1, 2)},
}
"""Each net's card and weights. Where a file holds several nets, their names stand before the weights'."""


def names() -> tuple[str, ...]:
    """The embedded nets."""
    return tuple(FILES)


def card(name: str) -> dict[str, Any]:
    """What is known about an embedded net: classes, preprocessing, data, training, figures with their commands."""
    found: dict[str, Any] = json.loads(_file(name, "json"))
    return found


def purpose(name: str) -> str:
    """What an embedded net is for, in a line."""
    return str(card(name)["for"])


def load(name: str, weights: str | None = None) -> Model:
    """An embedded net with its own weights, or `random` ones."""
    if weights not in (None, "random"):
        raise ModelError(f"no weights {weights!r} for the embedded {name}; leave them out, or give a file")
    facts = card(name)
    model = _KINDS[facts.get("kind", "classes")](name, facts)
    if weights is None:
        fill(model.module, _weights(name), given=name)
    return model


def _classes(name: str, facts: dict[str, Any]) -> Model:
    """A net whose outputs are classes."""
    module = SmallResNet(len(facts["classes"]), tuple(facts["widths"]), facts["blocks"], facts["stem"])
    return _model(name, facts, module)


def _captions(name: str, facts: dict[str, Any]) -> Model:
    """A net that writes a sentence."""
    vocabulary = Vocabulary(tuple(facts["vocabulary"]))
    net = Captioner(_eye(facts), len(vocabulary.words), facts["hidden"])
    return replace(_model(name, facts, net), task=Task.WORDS, writer=CaptionWriter(net, vocabulary))


def _questions(name: str, facts: dict[str, Any]) -> Model:
    """A net that answers questions, its classes the answers."""
    vocabulary = Vocabulary(tuple(facts["vocabulary"]))
    net = Answerer(_eye(facts), len(vocabulary.words), len(facts["classes"]), facts["hidden"])
    return replace(_model(name, facts, net), task=Task.ANSWERS, answers=Asking(net, vocabulary))


def _boxes(name: str, facts: dict[str, Any]) -> Model:
    """A detector."""
    net = small_fcos(len(facts["classes"]), tuple(facts["widths"]), facts["blocks"], facts["stem"], facts["convs"])
    return replace(_model(name, facts, Adapted(net, Unsuppressed())), task=Task.BOXES, layer=facts["layer"])


def _eye(facts: dict[str, Any]) -> Eye:
    sizes = tuple(facts["widths"]), facts["blocks"], facts["stem"], facts["channels"]
    return Eye(*sizes, facts["things"], facts["relations"])


_KINDS: dict[str, Callable[[str, dict[str, Any]], Model]] = {
    "classes": _classes,
    "captions": _captions,
    "questions": _questions,
    "boxes": _boxes,
}
"""What makes a net, without its weights, of its card."""


def _model(name: str, facts: dict[str, Any], module: nn.Module) -> Model:
    wanted: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in facts["preprocess"].items()}
    classes = tuple(row["name"] for row in facts["classes"])
    return Model(
        module=module,
        name=name,
        source="bundled",
        preprocess=Preprocess(**wanted),
        labels=Labels(classes, tuple(row["wnid"] for row in facts["classes"] if "wnid" in row)),
        multi_label=facts.get("multi_label", False),
        note=facts.get("note")
        or (
            f"answered by the embedded {len(classes)}-class net, which knows only "
            f"{facts.get('pictures', '')}{', '.join(classes)}; for 1000 classes: --model resnet50"
        ),
    )


def _file(name: str, ending: str) -> bytes:
    return (resources.files("sightline.bundled") / f"{FILES[name]}.{ending}").read_bytes()


def _weights(name: str) -> dict[str, Tensor]:
    found = read_bytes(_file(name, "safetensors"))
    if FILES[name] == name:
        return found
    return {key.removeprefix(f"{name}/"): value for key, value in found.items() if key.startswith(f"{name}/")}
