"""Exported programs: layers and maps as before the export, batches of any size where the graph allows, and refusals."""

import copy
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from nets import relative_error, roughened
from torch import Tensor, nn

import sightline
from sightline.ask import chosen_layer
from sightline.engine import OneByOne
from sightline.errors import MethodError, ModelError


class Net(nn.Module):
    """In-place ReLUs, batch norm, dropout and a reused module."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6))
        self.body = nn.Sequential(nn.Conv2d(6, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3))
        self.pool, self.drop, self.fc = nn.AvgPool2d(2), nn.Dropout(), nn.Linear(8, 5)

    def forward(self, image: Tensor) -> Any:
        seen = self.relu(self.body(self.relu(self.stem(image))))
        return self.fc(self.drop(self.pool(seen).mean((2, 3))))


class Fixed(nn.Module):
    """The number of images is written into the exported graph."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 6, 3, 2), nn.Linear(6, 5)

    def forward(self, image: Tensor) -> Any:
        seen = self.conv(image).relu()
        return self.fc(seen.view(len(image) * 6, -1).mean(1).view(len(image), 6))


def saved(net: nn.Module, file: Path, images: Tensor, **options: Any) -> str:
    torch.export.save(torch.export.export(net, (images,), **options), file)
    return str(file)


@pytest.fixture
def net() -> nn.Module:
    return roughened(Net().eval())


def test_grad_cam_of_a_resnet_at_layer4_is_the_same_before_and_after(tmp_path: Path) -> None:
    net, x = roughened(torchvision.models.resnet18().eval()), torch.randn(2, 3, 64, 64)
    model = sightline.load(saved(net, tmp_path / "net.pt2", x[:1]), device="cpu")
    assert model.preprocess.size == (64, 64)
    assert (len(model.labels), model.labels[207]) == (1000, "golden retriever")
    assert "assumed ImageNet's preprocessing (64 x 64 px" in model.note
    true = sightline.maps(net, x, [3, 7], layer="layer4")
    assert true.abs().amax() > 1e-3
    assert relative_error(sightline.maps(model.module, x, [3, 7], layer="layer4"), true) < 1e-5
    assert relative_error(sightline.maps(model.module, x, [3, 7]), true) < 1e-5  # the layer chosen


@pytest.mark.parametrize("method", ["occlusion:window=8", "saliency", "guided-backprop", "full-grad", "ablation-cam"])
def test_methods_of_all_kinds_answer_as_before(net: nn.Module, tmp_path: Path, method: str) -> None:
    x = torch.randn(2, 3, 32, 32)
    model = sightline.load(saved(net, tmp_path / "net.pt2", x[:1]), device="cpu")
    layer = "body" if method == "ablation-cam" else None
    true = sightline.maps(net, x, every := [[*range(5)]] * 2, method=method, layer=layer)
    assert relative_error(sightline.maps(model.module, x, every, method=method, layer=layer), true) < 1e-5


def test_rules_of_relevance_say_that_they_cannot_read_the_graph(net: nn.Module, tmp_path: Path) -> None:
    model = sightline.load(saved(net, tmp_path / "net.pt2", torch.randn(1, 3, 32, 32)), device="cpu")
    with pytest.raises(MethodError, match="no rule for aten.*use grad-cam or input-x-gradient"):
        sightline.maps(model.module, torch.randn(1, 3, 32, 32), 1, method="lrp-epsilon")


def test_the_model_is_left_as_found_and_can_be_copied(net: nn.Module, tmp_path: Path) -> None:
    model = sightline.load(saved(net, tmp_path / "net.pt2", torch.randn(1, 3, 32, 32)), device="cpu")
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    sightline.maps(model.module, x := torch.randn(2, 3, 32, 32), 1)
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    assert not any(module._forward_hooks for module in model.module.modules())
    other = copy.deepcopy(model.module)
    assert torch.equal(other(x), model.module(x))
    assert model.to("cpu", torch.float64).module(x.double()).dtype == torch.float64


def test_pooling_is_no_feature_map(net: nn.Module, tmp_path: Path) -> None:
    model = sightline.load(saved(net, tmp_path / "net.pt2", torch.randn(1, 3, 32, 32)), device="cpu")
    assert chosen_layer(model.module, torch.randn(1, 3, 32, 32)).layer.name == "relu"


def test_any_number_of_images_where_the_export_was_dynamic(net: nn.Module, tmp_path: Path) -> None:
    x, shapes = torch.randn(5, 3, 32, 32), ({0: torch.export.Dim.AUTO},)
    model = sightline.load(saved(net, tmp_path / "net.pt2", x[:2], dynamic_shapes=shapes), device="cpu")
    true = sightline.maps(net, x, every := [[*range(5)]] * 5)
    assert relative_error(sightline.maps(model.module, x, every), true) < 1e-5


def test_a_graph_of_one_image_is_asked_about_one_at_a_time(tmp_path: Path) -> None:
    net, x = Fixed().eval(), torch.randn(3, 3, 16, 16)
    model = sightline.load(saved(net, tmp_path / "net.pt2", x[:1]), device="cpu")
    assert isinstance(model.module, OneByOne)
    for method in ("occlusion:window=8", "saliency"):
        true = sightline.maps(net, x, 1, method=method)
        assert relative_error(sightline.maps(model.module, x, 1, method=method), true) < 1e-5
    true = sightline.maps(net, x[:1], 1, layer="conv")
    assert relative_error(sightline.maps(model.module, x[:1], 1, layer="conv"), true) < 1e-5
    with pytest.raises(MethodError, match="one image at a time was asked about its layers with 3"):
        sightline.maps(model.module, x, 1, layer="conv")


def test_a_graph_of_two_images_is_refused_unless_it_takes_one(net: nn.Module, tmp_path: Path) -> None:
    x = torch.randn(2, 3, 32, 32)
    assert sightline.load(saved(net, tmp_path / "net.pt2", x), device="cpu").preprocess.size == (32, 32)
    with pytest.raises(ModelError, match="saved for 2 images at a time"):
        sightline.load(saved(Fixed().eval(), tmp_path / "two.pt2", x), device="cpu")


def test_another_size_says_which_was_exported(net: nn.Module, tmp_path: Path) -> None:
    model = sightline.load(saved(net, tmp_path / "net.pt2", torch.randn(1, 3, 32, 32)), device="cpu")
    with pytest.raises(ModelError, match=r"exported for images of 3 x 32 x 32, got \(3, 40, 40\)"):
        sightline.maps(model.module, torch.randn(1, 3, 40, 40), 1, layer="body")


def test_an_image_given_by_name_and_several_inputs(net: nn.Module, tmp_path: Path) -> None:
    x = torch.randn(1, 3, 32, 32)
    torch.export.save(torch.export.export(net, (), {"image": x}), tmp_path / "named.pt2")
    model = sightline.load(str(tmp_path / "named.pt2"), device="cpu")
    assert torch.equal(model.module(x), net(x))

    class Two(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a + b

    torch.export.save(torch.export.export(Two(), (x, x)), tmp_path / "two.pt2")
    with pytest.raises(ModelError, match="takes 2 inputs.*inputs="):
        sightline.load(str(tmp_path / "two.pt2"))


def test_training_mode_weights_beside_and_channels_are_refused(net: nn.Module, tmp_path: Path) -> None:
    x = torch.randn(1, 3, 32, 32)
    with pytest.raises(ModelError, match=r"training mode.*model.eval\(\)"):
        sightline.load(saved(Net().train(), tmp_path / "net.pt2", torch.randn(2, 3, 32, 32)))
    with pytest.raises(ModelError, match="holds its own weights"):
        sightline.load(saved(net, tmp_path / "net.pt2", x), weights="random")
    wide = nn.Sequential(nn.Conv2d(5, 2, 3), nn.Flatten()).eval()
    with pytest.raises(ModelError, match="images of 5 channels"):
        sightline.load(saved(wide, tmp_path / "five.pt2", torch.randn(1, 5, 8, 8)))
    with pytest.raises(ModelError, match=r"no file 'none.pt2'"):
        sightline.load("none.pt2")


def test_grey_images_and_maps_of_scores(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    model = sightline.load(saved(net, tmp_path / "grey.pt2", torch.randn(1, 1, 8, 8)), device="cpu")
    assert (model.preprocess.mean, model.task) == ((0.0,), "regions")


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code ran')",)


@pytest.mark.parametrize("entry", ["data/sample_inputs/model.pt", "data/constants/opaque_obj_0"])
def test_a_file_with_code_is_refused_without_running_it(net: nn.Module, tmp_path: Path, entry: str) -> None:
    good = saved(net, tmp_path / "net.pt2", torch.randn(1, 3, 32, 32))
    held = io.BytesIO()
    torch.save(Evil(), held)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(tmp_path / "evil.pt2", "w") as target:
        for path in source.namelist():
            if not path.endswith(entry):
                target.writestr(path.replace("net/", "evil/"), source.read(path))
        target.writestr(f"evil/{entry}", held.getvalue() if entry.endswith(".pt") else pickle.dumps(Evil()))
    with pytest.raises(ModelError, match="holds more than"):
        sightline.load(str(tmp_path / "evil.pt2"))


@pytest.mark.parametrize("content", [b"", b"no zip"])
def test_a_damaged_file_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "net.pt2").write_bytes(content)
    with pytest.raises(ModelError, match="can't be read as an exported program") as caught:
        sightline.load(str(tmp_path / "net.pt2"))
    assert "\n" not in str(caught.value)
