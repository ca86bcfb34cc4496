"""Torchvision's segmentation nets, DeepLab v3, FCN and LR-ASPP: a class's logit at each pixel."""

from sightline.model import Model, Task
from sightline.preprocess import Preprocess
from sightline.sources.torchvision_zoo import builders, built, weights_of, zoo
from sightline.targets import Labels

SIDE = 512  # pixels; torchvision brings the shorter side to 520, which no stride of these nets divides


def names() -> tuple[str, ...]:
    """All builders of segmentation nets."""
    return builders(zoo().segmentation)


def load(name: str, weights: str | None = None) -> Model:
    """A segmentation net with its default weights, those of an enum member, or random ones; see torchvision.load.

    The background is its class 0. Pictures are fitted into a square, whose sides the grid of every layer divides.
    The recommended layer is the last of the backbone, which gives its maps as a mapping.
    """
    chosen = weights_of(name, weights)
    meant = chosen.transforms()
    part = "high" if name.startswith("lraspp") else "out"
    # The published weights carry the training's second head, which a net without weights has only when asked.
    second = {} if name.startswith("lraspp") or weights != "random" else {"aux_loss": True}
    backbone = {"weights_backbone": None} if weights == "random" else {}
    return Model(
        module=built(name, None if weights == "random" else chosen, **second, **backbone),
        name=name,
        source="torchvision",
        preprocess=Preprocess(size=(SIDE, SIDE), fit="pad", mean=tuple(meant.mean), std=tuple(meant.std)),
        labels=Labels(tuple(chosen.meta["categories"])),
        layer=f"backbone:{part}",
        task=Task.REGIONS,
    )
