"""ONNX: a graph read back has the layers of the net that it was exported from, and the same maps."""

import contextlib
import io
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from nets import Residual, Vit, image, relative_error, roughened, seeded
from torch import Tensor, nn

import sightline
from sightline.ask import chosen_layer
from sightline.engine import OneByOne
from sightline.errors import ModelError

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnx2torch", reason="onnx2torch is not installed")
pytest.importorskip("onnxscript", reason="onnxscript, which writes the files, is not installed")


def saved(net: nn.Module, file: Path, images: Tensor, **options: Any) -> str:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own
        inside = {"external_data": False, "verbose": False} if options.get("dynamo", True) else {}
        torch.onnx.export(net, (images,), str(file), **{"dynamo": True} | inside | options)
    return str(file)


@pytest.mark.parametrize("options", [{}, {"dynamo": False, "opset_version": 17}])
def test_grad_cam_of_a_resnet_at_layer4_is_the_same_before_and_after(tmp_path: Path, options: dict[str, Any]) -> None:
    net, x = roughened(torchvision.models.resnet18().eval()), torch.randn(2, 3, 64, 64)
    model = sightline.load(saved(net, tmp_path / "net.onnx", x[:1], **options), device="cpu")
    assert (model.source, model.preprocess.size, model.labels[207]) == ("onnx", (64, 64), "golden retriever")
    true = sightline.maps(net, x, [3, 7], layer="layer4")
    assert true.abs().amax() > 1e-3
    assert relative_error(sightline.maps(model.module, x, [3, 7], layer="layer4"), true) < 1e-4
    assert chosen_layer(model.module, x).layer.name == "layer4"
    there = {name for name, _ in model.module.named_modules()}
    assert {"maxpool", "layer1", "layer2.0", "layer3.1", "fc"} <= there


@pytest.mark.parametrize("method", ["occlusion:window=4:stride=2", "saliency", "guided-backprop", "ablation-cam"])
def test_methods_of_all_kinds_answer_as_before(tmp_path: Path, method: str) -> None:
    net, every = roughened(seeded(Residual)), [[0, 1, 2, 3]] * 2
    model = sightline.load(saved(net, tmp_path / "net.onnx", image(1)), device="cpu")
    layer = "late" if method == "ablation-cam" else None
    true = sightline.maps(net, image(), every, method=method, layer=layer)
    assert relative_error(sightline.maps(model.module, image(), every, method=method, layer=layer), true) < 1e-4


def test_equal_constants_that_the_older_exporter_merges(tmp_path: Path) -> None:
    net = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)) for _ in range(3)))
    net = nn.Sequential(net.eval(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    file = saved(net, tmp_path / "net.onnx", image(1), dynamo=False, opset_version=17)
    assert torch.allclose(sightline.load(file, device="cpu").module(image()), net(image()), atol=1e-6)


def test_small_mobilenet_and_convnext_of_todays_exporter(tmp_path: Path) -> None:
    """Hard swish, squeeze and excitation; layer norm, GELU and channels last."""
    block, mobile = torchvision.models.convnext.CNBlockConfig, torchvision.models.mobilenetv3
    inverted = [mobile.InvertedResidualConfig(8, 3, 16, 8, True, kind, 1, 1, 1.0) for kind in ("RE", "HS")]
    nets = (
        torchvision.models.MobileNetV3(inverted, last_channel=16, num_classes=5),
        torchvision.models.ConvNeXt([block(8, 16, 1), block(16, None, 1)], num_classes=5, layer_scale=1.0),
    )
    for net in nets:
        net, x = roughened(net.eval()), torch.randn(1, 3, 32, 32)
        model = sightline.load(saved(net, tmp_path / "net.onnx", x), device="cpu")
        every = [[0, 1, 2, 3, 4]]
        true = sightline.maps(net, x, every, layer="features")
        assert true.abs().amax() > 0
        assert relative_error(sightline.maps(model.module, x, every, layer="features"), true) < 1e-4


def test_a_vision_transformer_written_for_one_image(tmp_path: Path) -> None:
    net, x = seeded(Vit), image(2, 16, 16)
    model = sightline.load(saved(net, tmp_path / "net.onnx", x[:1]), device="cpu")
    assert isinstance(model.module, OneByOne)
    name = chosen_layer(net, x).layer.name
    assert chosen_layer(model.module, x).layer.name == name
    true = sightline.maps(net, x[:1], [[0, 1, 2, 3]], layer=name)
    assert relative_error(sightline.maps(model.module, x[:1], [[0, 1, 2, 3]], layer=name), true) < 1e-4
    true = sightline.maps(net, x, 1, method="saliency")
    assert relative_error(sightline.maps(model.module, x, 1, method="saliency"), true) < 1e-4


def node(kind: str, inputs: list[str], output: str, name: str = "", **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, inputs, [output], name=name, **attributes)


def graph(nodes: list[Any], constants: dict[str, Tensor], shape: list[Any], file: Path, opset: int = 20) -> str:
    """A file of one image of a shape, and an output `y`."""
    make, kind = onnx.helper, onnx.TensorProto.FLOAT
    held = [onnx.numpy_helper.from_array(value.numpy(), name) for name, value in constants.items()]
    ends = [make.make_tensor_value_info(name, kind, of) for name, of in (("x", shape), ("y", ["n", "k"]))]
    made = make.make_model(
        make.make_graph(nodes, "g", ends[:1], ends[1:], held),
        opset_imports=[make.make_opsetid("", opset)],
        ir_version=10,
    )
    onnx.helper.set_model_props(made, {"names": "{1: 'dog', 0: 'cat'}"})
    onnx.save(made, file)
    return str(file)


WEIGHT = {"w": torch.randn(2, 3, 3, 3)}
HEAD = [node("Conv", ["x", "w"], "a", "net/first/Conv2D"), node("Relu", ["a"], "b", "net/first/Relu")]
POOL = [node("GlobalAveragePool", ["b"], "p"), node("Flatten", ["p"], "y")]


def test_names_of_other_frameworks_and_class_names_from_the_metadata(tmp_path: Path) -> None:
    model = sightline.load(graph(HEAD + POOL, WEIGHT, ["n", 3, 8, 8], tmp_path / "net.onnx"), device="cpu")
    assert {"net.first", "net.first.Conv", "net.first.Relu"} <= {name for name, _ in model.module.named_modules()}
    assert model.labels.names == ("cat", "dog")
    x = torch.randn(2, 3, 8, 8)
    true = torch.conv2d(x, WEIGHT["w"]).relu().mean((2, 3))
    assert torch.allclose(model.module(x), true, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "attributes", "of"),
    [
        ("ReduceMax", {}, lambda b: b.amax((2, 3), keepdim=True)),
        ("ReduceMin", {}, lambda b: b.amin((2, 3), keepdim=True)),
        ("ReduceL2", {}, lambda b: b.norm(dim=(2, 3), keepdim=True)),
    ],
)
def test_reductions_over_dimensions_that_are_an_input(tmp_path: Path, kind: str, attributes: Any, of: Any) -> None:
    tail = [node(kind, ["b", "d"], "p", **attributes), node("Flatten", ["p"], "y")]
    held = WEIGHT | {"d": torch.tensor([2, 3])}
    x = torch.randn(2, 3, 8, 8)
    model = sightline.load(graph(HEAD + tail, held, [1, 3, 8, 8], tmp_path / "net.onnx"), device="cpu")
    assert torch.allclose(model.module(x), of(torch.conv2d(x, WEIGHT["w"]).relu()).flatten(1), atol=1e-6)


def test_slices_forwards_and_backwards(tmp_path: Path) -> None:
    held = WEIGHT | {
        name: torch.tensor(v) for name, v in (("s", [-1, 1]), ("e", [-100, 5]), ("i", [3, 2]), ("t", [-2, 1]))
    }
    tail = [
        node("Slice", ["b", "s", "e", "i", "t"], "c"),
        node("GlobalAveragePool", ["c"], "p"),
        node("Flatten", ["p"], "y"),
    ]
    x = torch.randn(2, 3, 8, 8)
    model = sightline.load(graph(HEAD + tail, held, [1, 3, 8, 8], tmp_path / "net.onnx"), device="cpu")
    true = torch.conv2d(x, WEIGHT["w"]).relu()[:, :, 1:5].flip(3)[..., ::2].mean((2, 3))
    assert torch.allclose(model.module(x), true, atol=1e-6)


def test_what_cannot_be_converted_is_named_with_the_way(tmp_path: Path) -> None:
    odd = [node("Hardmax", ["b"], "c"), node("GlobalAveragePool", ["c"], "p"), node("Flatten", ["p"], "y")]
    with pytest.raises(ModelError, match=r"operation Hardmax \(version 20\).*\.pt2"):
        sightline.load(graph(HEAD + odd, WEIGHT, [1, 3, 8, 8], tmp_path / "net.onnx"))
    newer = [
        node("AveragePool", ["b"], "c", kernel_shape=[2, 2], dilations=[2, 2]),
        *POOL[:0],
        node("Flatten", ["c"], "y"),
    ]
    with pytest.raises(ModelError, match="operation AveragePool"):
        sightline.load(graph(HEAD + newer, WEIGHT, [1, 3, 8, 8], tmp_path / "net.onnx"))
    with pytest.raises(ModelError, match="one image .* is expected"):
        sightline.load(graph(HEAD + POOL, WEIGHT, [3, 8, 8], tmp_path / "net.onnx"))
    (tmp_path / "net.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="can't be read as an ONNX file") as caught:
        sightline.load(str(tmp_path / "net.onnx"))
    assert "\n" not in str(caught.value)


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx2torch", None)
    (tmp_path / "net.onnx").touch()
    with pytest.raises(ModelError, match=r'pip install "sightline\[onnx\]"'):
        sightline.load(str(tmp_path / "net.onnx"))
