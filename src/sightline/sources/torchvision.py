"""Torchvision's models: weights by its own enum, class names from their metadata. Classifiers here, others beside."""

from contextlib import suppress
from typing import Any

from sightline.model import Model
from sightline.preprocess import Preprocess
from sightline.sources import torchvision_detection, torchvision_segmentation, torchvision_video
from sightline.sources.torchvision_zoo import builders, built, weights_of, zoo
from sightline.targets import Labels
from sightline.transforms import read_transform

# The published weights of these two want channels re-scaled inside, and may carry training-only heads.
_OLD_INCEPTIONS = ("googlenet", "inception_v3")


def names() -> tuple[str, ...]:
    """All builders of classifiers, detectors and segmentation nets, and of classifiers of clips."""
    others = torchvision_detection.names() + torchvision_segmentation.names() + torchvision_video.names()
    return builders(zoo()) + others


def load(name: str, weights: str | None = None) -> Model:
    """A model with its default weights, those of an enum member such as `IMAGENET1K_V1`, or random ones.

    Weights are downloaded by torchvision, once. Raises ModelError with what to do where that fails.
    """
    if name in torchvision_detection.names():
        return torchvision_detection.load(name, weights)
    if name in torchvision_segmentation.names():
        return torchvision_segmentation.load(name, weights)
    if name in torchvision_video.names():
        return torchvision_video.load(name, weights)
    chosen = weights_of(name, weights)
    options: dict[str, Any] = {}
    if weights == "random" and name in _OLD_INCEPTIONS:
        options = {"init_weights": False, "aux_logits": False, "transform_input": True}
    return Model(
        module=built(name, None if weights == "random" else chosen, **options),
        name=name,
        source="torchvision",
        preprocess=_preprocess(chosen),
        labels=Labels(tuple(chosen.meta["categories"]), _wnids(chosen.meta["categories"])),
    )


def imagenets_labels() -> Labels:
    """ImageNet's thousand classes, in the order that every library keeps."""
    categories = weights_of("resnet18", None).meta["categories"]
    return Labels(tuple(categories), _wnids(categories))


def _preprocess(weights: Any) -> Preprocess:
    return read_transform(weights.transforms())


def _wnids(categories: list[str]) -> tuple[str, ...]:
    """ImageNet's WordNet ids, which torchvision doesn't carry, from timm where that is installed."""
    with suppress(ImportError):
        from timm.data import ImageNetInfo

        found = tuple(ImageNetInfo().label_names())
        if len(found) == len(categories):
            return found
    return ()
