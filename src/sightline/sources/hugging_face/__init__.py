"""Hugging Face's models (extra `hf`), from a local folder or by their name on the hub: one task a file.

What a model is asked is told by its architecture; its preprocessing, labels and tokenizer come along. Nothing is
looked up in the network where the folder is local.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import Parameter, signature
from typing import Any

from torch import Tensor, nn

from sightline.engine import Adapted
from sightline.errors import ModelError
from sightline.model import Model, Task
from sightline.sources.hugging_face.boxes import with_boxes
from sightline.sources.hugging_face.likeness import with_texts
from sightline.sources.hugging_face.place import Place, is_folder
from sightline.sources.hugging_face.processing import preprocessing
from sightline.sources.hugging_face.questions import with_answers
from sightline.sources.hugging_face.words import answering, captioning, decoding
from sightline.targets import Labels

__all__ = ["is_folder", "load", "names"]


def _logits(module: Any, image: Tensor) -> Any:
    return module(pixel_values=image).logits


def _with_classes(model: Model, module: Any, place: Place) -> Model:
    several = module.config.problem_type == "multi_label_classification"
    return replace(model, module=Adapted(module, _logits), multi_label=several)


def _with_regions(model: Model, module: Any, place: Place) -> Model:
    return replace(model, module=Adapted(module, _logits), task=Task.REGIONS)


@dataclass(frozen=True, slots=True)
class Kind:
    """A row: an architecture, or where it begins with `For` all whose names end so, and what gives a model its task."""

    name: str
    make: Callable[[Model, Any, Place], Model]

    def fits(self, architecture: str) -> bool:
        return architecture.endswith(self.name) if self.name.startswith("For") else architecture == self.name


KINDS = (
    Kind("ForImageClassification", _with_classes),
    Kind("ForImageClassificationWithTeacher", _with_classes),
    Kind("ForSemanticSegmentation", _with_regions),
    Kind("ForObjectDetection", with_boxes),
    Kind("CLIPModel", with_texts),
    Kind("SiglipModel", with_texts),
    Kind("BlipForConditionalGeneration", captioning),
    Kind("BlipForQuestionAnswering", answering),
    Kind("VisionEncoderDecoderModel", decoding),
    Kind("ViltForQuestionAnswering", with_answers),
)


def names() -> tuple[str, ...]:
    """None: the hub's are too many to list; any is loaded by `hf/OWNER/NAME`."""
    return ()


def load(name: str, weights: str | None = None) -> Model:
    """A model of transformers from a local folder or the hub, with its own weights, or `random` ones.

    The layer is chosen automatically, except where text or queries might be taken for positions of the image.
    Raises ModelError, naming what is supported, for another architecture, for one that needs more than an image, and
    with what to do where a download fails.
    """
    if weights not in (None, "random"):
        raise ModelError(f"no weights {weights!r} for {name}; leave them out for its own, or give a file, or random")
    place = Place(name)
    config = place.config()
    architecture = next(iter(config.architectures or ()), "")
    kind = next((kind for kind in KINDS if kind.fits(architecture)), None)
    if kind is None:
        supported = ", ".join(kind.name for kind in KINDS)
        raise ModelError(
            f"{name} is a {architecture or 'model whose config names no architecture'}; supported are {supported}"
        )
    module, unfilled = place.module(architecture, config, random=weights == "random")
    if kind.name.startswith("For") and (others := _needed(module) - {"pixel_values"}):
        raise ModelError(
            f"{architecture} needs {', '.join(sorted(others))} beside its image; wrap it with them: "
            "sightline.wrap(module, inputs=..., image_name='pixel_values')"
        )
    preprocess, note = preprocessing(place, config)
    plain = Model(
        module=module,
        name=place.short,
        source="hf",
        preprocess=preprocess,
        labels=_labels(config),
        note="; ".join(part for part in (note, unfilled) if part),
    )
    return kind.make(plain, module, place)


def _needed(module: nn.Module) -> set[str]:
    """The inputs that a model's forward can't do without."""
    given = signature(module.forward).parameters.values()
    return {
        each.name for each in given if each.default is Parameter.empty and each.kind is Parameter.POSITIONAL_OR_KEYWORD
    }


def _labels(config: Any) -> Labels:
    """The classes' names, none where the config holds only the placeholders that transformers makes up."""
    named = {int(index): str(name) for index, name in (config.id2label or {}).items()}
    if all(name == f"LABEL_{index}" for index, name in named.items()):
        return Labels(())
    return Labels(tuple(named.get(index, str(index)) for index in range(max(named) + 1)))
