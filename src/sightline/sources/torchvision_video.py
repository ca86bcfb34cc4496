"""Torchvision's classifiers of clips (Kinetics-400), with the number of frames that their weights were measured with.

Frames are resized as pictures are here, with antialiasing; torchvision's own presets take none, which moves
scores a little where a video is much larger than the model's image. MViT is left out: its blocks pool tokens by
strides of their own, so that a grid can't be told from them.
"""

from typing import Any

from sightline.model import Model
from sightline.preprocess import Preprocess
from sightline.sources.torchvision_zoo import builders, built, weights_of, zoo
from sightline.targets import Labels

FRAMES = {
    "mc3_18": 16, "r2plus1d_18": 16, "r3d_18": 16, "s3d": 128, "swin3d_b": 32, "swin3d_s": 32, "swin3d_t": 32,
}  # fmt: skip


def names() -> tuple[str, ...]:
    """The builders of models of clips whose feature maps are grids in time and space."""
    return tuple(name for name in builders(zoo().video) if name in FRAMES)


def load(name: str, weights: str | None = None) -> Model:
    """A model of clips with its default weights, those of an enum member, or random ones; see torchvision.load."""
    chosen = weights_of(name, weights)
    return Model(
        module=built(name, None if weights == "random" else chosen),
        name=name,
        source="torchvision",
        preprocess=_preprocess(chosen.transforms()),
        labels=Labels(tuple(chosen.meta["categories"])),
        frames=FRAMES[name],
    )


def _preprocess(preset: Any) -> Preprocess:
    """Torchvision's VideoClassification preset: the shorter side, or the whole, resized, and the centre cropped."""
    height, width = preset.crop_size
    resize = preset.resize_size
    return Preprocess(
        size=(height, width),
        resize=resize[0] if len(resize) == 1 else (resize[0], resize[1]),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation=preset.interpolation.value,
    )
