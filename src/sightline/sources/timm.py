"""timm's models (extra `timm`): weights, preprocessing and labels from the model's own configuration."""

import math
from importlib.util import find_spec
from typing import Any

from sightline.errors import ModelError, first_line
from sightline.model import Model
from sightline.preprocess import Fit, Preprocess
from sightline.targets import Labels

_FITS: dict[str, Fit] = {"center": "crop", "squash": "squash", "border": "pad"}


def _timm() -> Any:
    try:
        import timm
        import timm.data
    except ImportError as error:
        raise ModelError('timm is not installed; pip install "sightline[timm]"') from error
    return timm


def names() -> tuple[str, ...]:
    """All architectures, none where timm isn't installed."""
    return tuple(_timm().list_models()) if find_spec("timm") else ()


def load(name: str, weights: str | None = None) -> Model:
    """A timm model with its default pretrained weights (downloaded by timm, once), or `random` ones.

    Raises ModelError with what to do where the download fails.
    """
    timm = _timm()
    if weights not in (None, "random"):
        raise ModelError(f"no weights {weights!r} for timm's {name}; write the tag into the name, as {name}.{weights}")
    try:
        module = timm.create_model(name, pretrained=weights is None)
    except Exception as error:  # hub clients raise errors of many libraries
        raise ModelError(
            f"timm's {name} could not be made ({first_line(error)}); without a network pass a file with "
            "--weights (Python: weights=...), or random weights with --weights random"
        ) from error
    config = timm.data.resolve_model_data_config(module)
    _, height, width = config["input_size"]
    interpolation = (
        config["interpolation"] if config["interpolation"] in ("bilinear", "bicubic", "nearest") else "bilinear"
    )
    return Model(
        module=module,
        name=name,
        source="timm",
        preprocess=Preprocess(
            size=(height, width),
            fit=_FITS.get(config.get("crop_mode", "center"), "crop"),
            resize=math.floor(min(height, width) / config["crop_pct"]),
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            interpolation=interpolation,
        ),
        labels=_labels(timm, module),
    )


def _labels(timm: Any, module: Any) -> Labels:
    if module.num_classes != 1000:
        return Labels(())
    info = timm.data.ImageNetInfo()
    return Labels(tuple(info.label_descriptions()), tuple(info.label_names()))
