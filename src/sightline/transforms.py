"""Reading a torchvision transform as a Preprocess, so that maps land where the model really looked."""

from collections.abc import Sequence
from typing import Any

from sightline.errors import ModelError
from sightline.preprocess import Preprocess

_NO_GEOMETRY = {
    "ToTensor",
    "PILToTensor",
    "ToImage",
    "ToDtype",
    "ConvertImageDtype",
    "ToPILImage",
    "MaybeToTensor",
    "RGB",
}


def read_transform(transform: Any) -> Preprocess:
    """A Preprocess itself, torchvision's ImageClassification preset, or a Compose of Resize, CenterCrop,
    conversions and Normalize.

    Raises ModelError, naming the step, for anything else: where a transform puts the picture's
    pixels would be a guess.
    """
    if isinstance(transform, Preprocess):
        return transform
    if type(transform).__name__ == "ImageClassification":
        (crop,), (resize,) = transform.crop_size, transform.resize_size
        return Preprocess(
            size=(crop, crop), resize=resize, mean=tuple(transform.mean), std=tuple(transform.std),
            interpolation=_interpolation(transform),
        )  # fmt: skip
    steps = getattr(transform, "transforms", None)
    if steps is None:
        raise ModelError(
            f"can't tell where {type(transform).__name__} puts the picture's pixels; pass a sightline.Preprocess, "
            "or a torchvision Compose of Resize, CenterCrop, ToTensor and Normalize"
        )
    return _composed(steps)


def _composed(steps: Sequence[Any]) -> Preprocess:
    resize: Any = None
    crop: Any = None
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    interpolation = "bilinear"
    for step in steps:
        kind = type(step).__name__
        if kind == "Resize" and crop is None:
            resize, interpolation = step.size, _interpolation(step)
        elif kind == "CenterCrop":
            crop = _pair(step.size)
        elif kind == "Normalize":
            mean, std = tuple(map(float, step.mean)), tuple(map(float, step.std))
        elif kind not in _NO_GEOMETRY:
            raise ModelError(
                f"can't tell where the transform {kind} puts the picture's pixels; "
                "pass a sightline.Preprocess with the same effect"
            )
    if isinstance(resize, Sequence) and len(resize) == 1:
        resize = resize[0]
    if isinstance(resize, Sequence) and crop in (None, _pair(resize)):
        return Preprocess(size=_pair(resize), fit="squash", mean=mean, std=std, interpolation=interpolation)
    if isinstance(resize, int) and crop is not None and max(crop) <= resize:
        return Preprocess(size=crop, resize=resize, mean=mean, std=std, interpolation=interpolation)
    raise ModelError(
        f"a transform with Resize({resize}) and CenterCrop({crop}) has no fixed framing; "
        "use Resize(n) with CenterCrop, or Resize((h, w)), or pass a sightline.Preprocess"
    )


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[-1]))


def _interpolation(step: Any) -> str:
    return str(getattr(step.interpolation, "value", step.interpolation))
