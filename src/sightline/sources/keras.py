"""Keras models (extra `keras`): keras.applications by name and `.keras` files, on Keras's torch backend.

Channels come last in them, so the call turns the image round; layers have their Keras names, and give channels last.
What is explained is the logit: a model that ends in a softmax (or sigmoid) has it taken off when it is loaded.
"""

import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sightline.engine import Adapted
from sightline.errors import ModelError, first_line
from sightline.model import Model
from sightline.preprocess import Preprocess
from sightline.sources.opened import ASSUMED, opened

ENDINGS = (".keras",)
_BYTES = ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))  # from 0 to 255: the model's own layers scale them
_SIGNED = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # from -1 to 1
_IMAGENETS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CAFFES = ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255))  # and blue first
_APPLICATIONS = {
    _BYTES: (
        "ConvNeXtTiny ConvNeXtSmall ConvNeXtBase ConvNeXtLarge ConvNeXtXLarge EfficientNetB0 EfficientNetB1 "
        "EfficientNetB2 EfficientNetB3 EfficientNetB4 EfficientNetB5 EfficientNetB6 EfficientNetB7 EfficientNetV2B0 "
        "EfficientNetV2B1 EfficientNetV2B2 EfficientNetV2B3 EfficientNetV2S EfficientNetV2M EfficientNetV2L "
        "MobileNetV3Small MobileNetV3Large"
    ),
    _SIGNED: (
        "InceptionResNetV2 InceptionV3 MobileNet MobileNetV2 NASNetLarge NASNetMobile ResNet50V2 ResNet101V2 "
        "ResNet152V2 Xception"
    ),
    _IMAGENETS: "DenseNet121 DenseNet169 DenseNet201",
    _CAFFES: "ResNet50 ResNet101 ResNet152 VGG16 VGG19",
}
"""keras.applications and what their `preprocess_input` makes of pixels from 0 to 1: mean and standard deviation."""

_NORMS = {name: norm for norm, of in _APPLICATIONS.items() for name in of.split()}


def names() -> tuple[str, ...]:
    """keras.applications, none where Keras isn't installed."""
    return tuple(sorted(_NORMS)) if find_spec("keras") else ()


def load(name: str, weights: str | None = None) -> Model:
    """An application with ImageNet's weights (downloaded by Keras, once) or `random` ones, or the model in a file.

    Applications squash pictures to their size, as Keras's own loader does; for a file ImageNet's preprocessing is
    assumed, or bytes where it begins with a layer that scales them. Raises ModelError where Keras runs on another
    backend already, where weights can't be downloaded, and for a file that can't be read without running code in it.
    """
    keras = _keras()
    model = _file(keras, name) if name.endswith(ENDINGS) else _application(keras, name, weights)
    channels, height, width, last = _size(model, name)
    model = _without_activation(keras, model)
    norm = _NORMS.get(name)
    call = _Call(last, norm == _CAFFES)
    made = opened(model, Path(name).name, "keras", (channels, height, width), adapted=Layered, call=call)
    if norm is not None:
        preprocess = Preprocess(size=made.preprocess.size, fit="squash", mean=norm[0], std=norm[1])
        return replace(made, preprocess=preprocess, note="")
    if channels != 1 and any(type(layer).__name__ == "Rescaling" for _, layer in _layers(model)):
        preprocess = replace(made.preprocess, mean=_BYTES[0], std=_BYTES[1])
        return replace(
            made, preprocess=preprocess, note=made.note.replace(ASSUMED, f"{ASSUMED} in bytes, as it scales them")
        )
    return made


def _keras() -> Any:
    """Keras on torch. To import it leaves the choice of a backend and Python's random numbers as they were."""
    found, drawn = os.environ.get("KERAS_BACKEND"), random.getstate()
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "torch"
    try:
        import keras
    except ImportError as error:
        raise ModelError('keras is not installed; pip install "sightline[keras]"') from error
    finally:
        random.setstate(drawn)
        if found is not None:
            os.environ["KERAS_BACKEND"] = found
        else:
            os.environ.pop("KERAS_BACKEND", None)
    if keras.backend.backend() != "torch":
        raise ModelError(
            f"keras was imported with the backend {keras.backend.backend()}, and only torch's can be explained; "
            "set KERAS_BACKEND=torch before Python starts"
        )
    return keras


def _file(keras: Any, file: str) -> Any:
    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # a damaged file, layers of one's own, lambdas: Keras raises errors of many kinds
        raise ModelError(f"{file} can't be read as a Keras model: {first_line(error)}") from error


def _application(keras: Any, name: str, weights: str | None) -> Any:
    if name not in _NORMS:
        raise ModelError(f"no application {name!r} in Keras; it has {', '.join(sorted(_NORMS))}")
    if weights not in (None, "random"):
        raise ModelError(
            f"no weights {weights!r} for Keras's {name}; leave them out, or give a .keras file as the model"
        )
    try:
        return getattr(keras.applications, name)(weights=None if weights else "imagenet", classifier_activation=None)
    except Exception as error:  # downloads raise errors of many kinds
        raise ModelError(
            f"Keras's {name} could not be made ({first_line(error)}); without a network give the path of a .keras file "
            "as the model, or random weights with --weights random"
        ) from error


def _size(model: Any, name: str) -> tuple[int | None, int | None, int | None, bool]:
    """Channels, height and width of the model's image, and whether its channels come last."""
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise ModelError(f"{name} takes {shape}; a built Keras model of one image (N, H, W, C) is expected")
    last = shape[3] in (1, 3) or shape[1] not in (1, 3)
    channels, height, width = (shape[3], shape[1], shape[2]) if last else shape[1:]
    return channels, height, width, last


def _without_activation(keras: Any, model: Any) -> Any:
    """The model up to its logits, where its end is a layer: what a subclassed model does in code stays."""
    layer = model
    while isinstance(layer, keras.Model) and getattr(layer, "outputs", None):
        layer = layer.outputs[0]._keras_history.operation
    if isinstance(layer, keras.layers.Softmax) and layer is model.layers[-1]:
        return keras.Model(model.inputs, layer.input)
    ends = (keras.activations.softmax, keras.activations.sigmoid)
    if getattr(layer, "activation", None) in ends:
        layer.activation = keras.activations.linear
    return model


@dataclass(frozen=True)
class _Call:
    """Keras's way with an image: on its device, with channels last, blue first where the weights want that."""

    channels_last: bool = True
    blue_first: bool = False

    def __call__(self, module: nn.Module, image: Tensor) -> Any:
        import keras

        image = image.flip(1) if self.blue_first else image
        with keras.device(str(image.device)):
            output = module(image.permute(0, 2, 3, 1) if self.channels_last else image)
        if isinstance(output, Tensor) and output.ndim == 4 and self.channels_last:
            return output.permute(0, 3, 1, 2)
        return output


class Layered(Adapted):
    """A Keras model under Keras's own names of its layers: torch sees only the list of its weights."""

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        yield from self.module.named_modules(memo, prefix, remove_duplicate)
        for name, layer in _layers(self.module):
            yield f"{prefix}.{name}" if prefix else name, layer


def _layers(model: Any) -> Iterator[tuple[str, Any]]:
    """A model's layers, parts of parts too, under dotted names."""
    for layer in model._flatten_layers(recursive=False, include_self=False):
        yield layer.name, layer
        yield from ((f"{layer.name}.{name}", part) for name, part in _layers(layer))
