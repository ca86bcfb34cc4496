"""Keras on its torch backend: maps under Keras's layer names, logits, preprocessing, and nothing else disturbed."""

import copy
import os
import random
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from nets import relative_error
from torch import Tensor

import sightline
from sightline.ask import chosen_layer
from sightline.errors import ModelError
from sightline.sources import keras as source

pytestmark = pytest.mark.skipif(not find_spec("keras"), reason="keras is not installed")


State = tuple[Any, ...]


def state() -> State:
    numbers = torch.get_rng_state().tolist(), random.getstate()
    return os.environ.get("KERAS_BACKEND"), torch.get_default_dtype(), torch.is_grad_enabled(), *numbers


@pytest.fixture(scope="module")
def before_and_after() -> tuple[State, State]:
    before = state()
    source._keras()
    return before, state()


@pytest.fixture(scope="module")
def keras(before_and_after: tuple[State, State]) -> Any:
    return source._keras()


def drawn(model: Any) -> Any:
    """The model with kernels of a size that keeps activations, and gradients, of the same order in every layer."""
    with torch.no_grad():
        for layer in model._flatten_layers(include_self=False):
            for weight in layer.weights:
                value = weight.value
                if weight.name == "kernel":
                    into = (
                        value[..., 0].numel() if type(layer).__name__ != "DepthwiseConv2D" else value[..., 0, 0].numel()
                    )
                    value.normal_(0, (2 / into) ** 0.5)
                elif weight.name in ("gamma", "moving_variance"):
                    value.uniform_(0.5, 1.5)
    return model


def saved(model: Any, file: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras reads its arrays in a way that numpy 2 advises against
        model.save(file)
    return str(file)


def small(keras: Any, *end: Any) -> Any:
    parts = keras.layers
    return drawn(
        keras.Sequential(
            [
                *(keras.Input((16, 16, 3)), parts.Conv2D(6, 3, name="first"), parts.ReLU(), parts.BatchNormalization()),
                *(parts.Conv2D(8, 3, activation="relu", name="second"), parts.MaxPooling2D(), parts.Dropout(0.5)),
                *(parts.GlobalAveragePooling2D(), *(end or (parts.Dense(4, activation="softmax"),))),
            ]
        )
    )


@pytest.fixture(scope="module")
def file(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return saved(small(keras), tmp_path_factory.mktemp("keras") / "net.keras")


def images(n: int = 2, size: int = 16) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_grad_cam_of_a_mobilenet_equals_plain_autograd(keras: Any, tmp_path: Path) -> None:
    net = drawn(keras.applications.MobileNetV2(weights=None, input_shape=(64, 64, 3), classes=5, alpha=0.35))
    model = sightline.load(saved(net, tmp_path / "net.keras"), device="cpu")
    x, k = images(2, 64), torch.tensor([3, 1])
    assert chosen_layer(model.module, x).layer.name == "out_relu"
    found = sightline.maps(model.module, x, k)
    ends = [net.get_layer("out_relu").output, net.layers[-1].input]
    activation, pooled = keras.Model(net.inputs, ends)(x.permute(0, 2, 3, 1))
    dense = net.layers[-1]
    logits = pooled @ dense.kernel.value + dense.bias.value
    (gradient,) = torch.autograd.grad(logits.gather(1, k[:, None]).sum(), activation)
    true = (gradient.mean((1, 2), keepdim=True) * activation).sum(-1).relu()
    assert true.amax() > 1e-3
    assert relative_error(found, true.detach()) < 1e-4


def test_layers_have_keras_names_and_the_logits_are_asked(file: str, keras: Any) -> None:
    model, x = sightline.load(file, device="cpu"), images()
    assert {"first", "second"} <= {name for name, _ in model.module.named_modules()}
    true = keras.saving.load_model(file)(x.permute(0, 2, 3, 1))
    assert torch.allclose(model.module(x).softmax(1), true, atol=1e-6)
    assert chosen_layer(model.module, x).layer.name == "second"
    assert "assumed ImageNet's preprocessing (16 x 16 px" in model.note
    with pytest.raises(sightline.errors.LayerNotFound, match="'second'"):
        sightline.maps(model.module, x, 1, layer="sekond")


@pytest.mark.parametrize("end", ["Softmax", "Activation"])
def test_a_softmax_of_its_own_layer_is_taken_off(keras: Any, tmp_path: Path, end: str) -> None:
    parts = keras.layers
    last = parts.Softmax() if end == "Softmax" else parts.Activation("softmax")
    net = small(keras, parts.Dense(4), last)
    model = sightline.load(saved(net, tmp_path / "net.keras"), device="cpu")
    found = model.module(images())
    assert torch.allclose(found.softmax(1), net(images().permute(0, 2, 3, 1)), atol=1e-6)
    assert (found.sum(1) - 1).abs().max() > 1e-3


@pytest.mark.parametrize("method", ["occlusion:window=4:stride=4", "saliency", "guided-backprop", "ablation-cam"])
def test_methods_of_all_kinds_answer(file: str, method: str) -> None:
    model = sightline.load(file, device="cpu")
    found = sightline.maps(model.module, images(), [[0, 1, 2, 3]] * 2, method=method)
    assert found.isfinite().all()
    assert found.abs().amax() > 0
    alone = sightline.maps(model.module, images()[1:], [[0, 1, 2, 3]], method=method)
    assert relative_error(found[1:], alone) < 1e-4


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras reads its weights so
def test_the_model_is_left_as_found_and_can_be_copied(file: str) -> None:
    model, x = sightline.load(file, device="cpu"), images()
    inner = model.module.module
    inner.train()
    flags = [module.training for module in inner.modules()]
    before = {name: value.clone() for name, value in inner.state_dict().items()}
    sightline.maps(model.module, x, 1, layer="first")
    assert [module.training for module in inner.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in inner.state_dict().items())
    assert not any(layer._forward_hooks for _, layer in model.module.named_modules())
    assert torch.equal(copy.deepcopy(model.module)(x), model.module(x))
    assert all(parameter.grad is None for parameter in inner.parameters())


def test_nested_models_have_dotted_names_and_bytes_are_seen(keras: Any, tmp_path: Path) -> None:
    parts = keras.layers
    base = keras.Sequential([keras.Input((16, 16, 3)), parts.Conv2D(6, 3, name="inside")], name="base")
    end = (parts.GlobalAveragePooling2D(), parts.Dense(2, activation="sigmoid"))
    net = drawn(keras.Sequential([keras.Input((16, 16, 3)), parts.Rescaling(1 / 255), base, *end]))
    model = sightline.load(saved(net, tmp_path / "net.keras"), device="cpu")
    assert model.preprocess.std == (1 / 255,) * 3
    pixels = images() * 255
    assert torch.allclose(model.module(pixels).sigmoid(), net(pixels.permute(0, 2, 3, 1)), atol=1e-6)
    assert sightline.maps(model.module, pixels, [[0, 1]] * 2, layer="base.inside").shape == (2, 2, 14, 14)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        *(("MobileNetV2", "mobilenet_v2"), ("ResNet50", "resnet"), ("VGG16", "vgg16"), ("DenseNet121", "densenet")),
        *(("EfficientNetB0", "efficientnet"), ("ResNet50V2", "resnet_v2"), ("ConvNeXtTiny", "convnext")),
    ],
)
def test_preprocessing_is_what_keras_does(keras: Any, name: str, module: str) -> None:
    pixels = torch.randint(0, 256, (1, 5, 5, 3)).float()
    true = getattr(keras.applications, module).preprocess_input(pixels.numpy().copy())
    mean, std = (torch.tensor(values) for values in source._NORMS[name])
    image = ((pixels / 255 - mean) / std).permute(0, 3, 1, 2)
    given: list[Tensor] = []
    source._Call(True, source._NORMS[name] == source._CAFFES)(given.append, image)  # type: ignore[arg-type]
    assert torch.allclose(given[0], torch.as_tensor(true.copy()), atol=1e-3)


def test_applications_by_name() -> None:
    assert {"MobileNetV2", "ResNet50", "ConvNeXtTiny"} <= set(source.names())
    model = sightline.load("keras/MobileNet", weights="random", device="cpu")
    assert (model.source, model.preprocess.size, model.preprocess.fit) == ("keras", (224, 224), "squash")
    assert (len(model.labels), model.labels[207]) == (1000, "golden retriever")
    assert "random weights" in model.note
    with pytest.raises(ModelError, match=r"no weights 'BEST'.*\.keras"):
        sightline.load("keras/MobileNet", weights="BEST")


def test_every_application_has_its_preprocessing(keras: Any) -> None:
    there = {name for name in dir(keras.applications) if name[0].isupper()}
    assert set(source._NORMS) <= there


def test_what_cannot_be_read_is_one_line(keras: Any, tmp_path: Path) -> None:
    (tmp_path / "net.keras").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="can't be read as a Keras model") as caught:
        sightline.load(str(tmp_path / "net.keras"))
    assert "\n" not in str(caught.value)
    code = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Lambda(lambda x: x)])
    with pytest.raises(ModelError, match="can't be read as a Keras model"):
        sightline.load(saved(code, tmp_path / "code.keras"))
    two = keras.Sequential([keras.Input((7,)), keras.layers.Dense(2)])
    with pytest.raises(ModelError, match="one image .* is expected"):
        sightline.load(saved(two, tmp_path / "two.keras"))
    with pytest.raises(ModelError, match="Keras model is read from its file"):
        sightline.wrap(two)


def test_another_backend_is_refused_in_a_line(file: str, keras: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ModelError, match="backend jax.*KERAS_BACKEND=torch"):
        sightline.load(file)


def test_without_the_extra_it_says_what_to_install(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(ModelError, match=r'pip install "sightline\[keras\]"'):
        sightline.load(file)


def test_importing_keras_disturbs_nothing_else(before_and_after: tuple[State, State]) -> None:
    before, after = before_and_after
    assert before == after
    assert "KERAS_BACKEND" not in os.environ or os.environ["KERAS_BACKEND"] == before[0]
