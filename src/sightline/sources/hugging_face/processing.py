"""A processor of transformers as a Preprocess: where it puts the pixels, and what it makes of their values."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from sightline.preprocess import Pixels, Preprocess
from sightline.sources.hugging_face.place import Place
from sightline.sources.opened import ASSUMED

TRIED = (480, 360)  # width and height of the picture that is tried, of the usual shape
ALIKE = 2.0  # levels of 255 by which resampling may differ on it
_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True, slots=True)
class Cut(Preprocess):
    """As transformers crops: of an odd excess the smaller half is cut off before, the larger after."""

    def _before(self, excess: int) -> int:
        return excess // 2 if excess >= 0 else Preprocess._before(self, excess)


def preprocessing(place: Place, config: Any) -> tuple[Preprocess, str]:
    """A model's preprocessing, and what is to be said of it: what was assumed, and what couldn't be followed."""
    processor = place.image_processor()
    if processor is None or not hasattr(processor, "size"):
        size = _image_size(config)
        why = (
            "holds no preprocessor_config.json" if processor is None else f"has a {type(processor).__name__} of its own"
        )
        return Preprocess(size=size, resize=round(min(size) / 0.875)), (
            f"{ASSUMED} ({size[0]} x {size[1]} px): {place.short} {why}"
        )
    found, note = _geometry(processor, config)
    mean, std = _scaling(processor)
    found = replace(found, mean=mean, std=std, interpolation=_interpolation(processor))
    off = _difference(_tried(processor), found)
    if off is None or off > ALIKE:
        what = "gives another size" if off is None else f"differs by {off:.0f} of 255 levels"
        note = f"{note}; " if note else ""
        note += f"{type(processor).__name__} {what} from what is done here: pass a preprocess of your own if it matters"
    return found, note


def _geometry(processor: Any, config: Any) -> tuple[Preprocess, str]:
    size, crop = _sizes(processor.size), _sizes(getattr(processor, "crop_size", None))
    short = size.get("shortest_edge")
    cropped = bool(getattr(processor, "do_center_crop", False)) and "height" in crop
    exact = (size["height"], size["width"]) if "height" in size else None
    kept = (crop["height"], crop["width"]) if cropped else None
    if not getattr(processor, "do_resize", True):
        own = kept or _image_size(config)
        return Cut(size=own, fit="squash"), f"it takes pictures in their own size; here they become {own[0]} x {own[1]}"
    share = getattr(processor, "crop_pct", None)
    if share is not None and short is not None:  # ConvNeXt's, which crops small images and stretches large ones
        return Cut(size=(short, short), fit="crop" if short < 384 else "squash", resize=int(short / share)), ""
    if kept is not None and short is not None:
        return Cut(size=kept, fit="crop", resize=short), ""
    if kept is not None and exact is not None:
        return Cut(size=kept, fit="crop", resize=exact), ""
    if exact is not None:
        return Cut(size=exact, fit="squash"), ""
    height, width = _tried(processor).shape[1:]
    return Cut(size=(height, width), fit="pad"), (
        f"it takes pictures of any shape; here each is fitted into {height} x {width} and padded, which suits 4:3 "
        f"(for another shape --size; for no padding --fit squash)"
    )


def _scaling(processor: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of pixels in 0..1, whatever the processor's own factor."""
    factor = float(processor.rescale_factor) * 255 if getattr(processor, "do_rescale", True) else 255.0
    if not getattr(processor, "do_normalize", True):
        return (0.0, 0.0, 0.0), (1 / factor,) * 3
    mean, std = processor.image_mean, processor.image_std
    return tuple(float(each) / factor for each in mean), tuple(float(each) / factor for each in std)


def _interpolation(processor: Any) -> str:
    found = getattr(processor.resample, "value", processor.resample)
    return _RESAMPLING.get(found, "bilinear") if isinstance(found, int) else str(found)


def _sizes(size: Any) -> dict[str, int]:
    """A size as a mapping, whatever the processor keeps it as."""
    if size is None:
        return {}
    names = ("height", "width", "shortest_edge")
    values = {name: size.get(name) if isinstance(size, dict) else getattr(size, name, None) for name in names}
    return {name: int(value) for name, value in values.items() if value is not None}


def _image_size(config: Any) -> Pixels:
    for part in (config, getattr(config, "vision_config", None), getattr(config, "encoder", None)):
        size = getattr(part, "image_size", None)
        if isinstance(size, int):
            return size, size
        if size:
            return int(size[0]), int(size[1])
    return 224, 224


def _picture() -> Image.Image:
    """Smooth waves, on which ways of resampling agree."""
    y, x = np.mgrid[0 : TRIED[1], 0 : TRIED[0]] / TRIED[0]
    waves = [127.5 + 127.5 * np.sin(6 * (x * a + y * b)) for a, b in ((1, 0.3), (0.2, 1), (0.7, -0.8))]
    return Image.fromarray(np.stack(waves, -1).astype(np.uint8))


def _tried(processor: Any) -> Tensor:
    """What the processor itself makes of the picture that is tried."""
    found: Tensor = processor(_picture(), return_tensors="pt")["pixel_values"][0]
    return found


def _difference(given: Tensor, preprocess: Preprocess) -> float | None:
    """How far the preprocessing is from what the processor made, in levels; None where their sizes differ."""
    stretched = replace(preprocess, fit="squash") if preprocess.fit == "pad" else preprocess
    own = stretched(_picture())
    if given.shape != own.shape:
        return None
    return float(((given - own).abs().mean((1, 2)) * own.new_tensor(preprocess.std)).max()) * 255
