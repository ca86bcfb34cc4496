"""Equal to captum and pytorch-grad-cam where those are right; where one isn't, it is shown against float64.

Random weights and small pictures: what is compared is arithmetic.
"""

import copy
import itertools
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from nets import Pooled, captured, grad_cam_of, image, relative_error, roughened, seeded, without_in_place
from torch import Tensor, nn
from torchvision import models

import sightline
from sightline.errors import TargetError


def vgg11() -> nn.Module:
    """VGG-11's features before a small classifier, the same kind as its own."""
    features = models.vgg.make_layers(models.vgg.cfgs["A"], batch_norm=False)
    classifier = nn.Sequential(nn.Linear(512, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 10))
    parts = OrderedDict(features=features, avgpool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), classifier=classifier)
    return nn.Sequential(parts)


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int]]] = {
    "resnet18": (lambda: models.resnet18(num_classes=10), (40, 72)),
    "squeezenet1_1": (lambda: models.squeezenet1_1(num_classes=10), (64, 80)),
    "vgg11": (vgg11, (64, 64)),
    "densenet121": (lambda: models.densenet121(num_classes=10), (64, 64)),
}
TARGETS = [3, 7]


def net(name: str) -> tuple[nn.Module, Tensor]:
    """A net with random weights, and two images for it."""
    build, size = NETS[name]
    return roughened(seeded(build)), image(2, *size, seed=2)


def spatial_layers(model: nn.Module, images: Tensor) -> list[str]:
    """Every module that gives (N, C, h, w) with more than one cell."""
    found: dict[str, None] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and output[0, 0].numel() > 1:
                found[name] = None

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return list(found)


def without_overwriting(
    model: nn.Module, layer: str, images: Tensor, targets: list[int], dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Activations and gradients of the same net, none of whose modules overwrites what it is given."""
    exact = without_in_place(copy.deepcopy(model)).to(dtype).eval()
    rows = torch.arange(len(targets))
    return captured(exact, exact.get_submodule(layer), images.to(dtype), lambda out: out[rows, targets])


def before_in_place_modules(model: nn.Module, layers: list[str]) -> list[str]:
    return [one for one, after in itertools.pairwise(layers) if getattr(model.get_submodule(after), "inplace", False)]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in ("resnet18", "densenet121"))) for name in NETS]
)
def test_equals_captum_on_every_spatial_layer(name: str) -> None:
    """In float64, where what differs is no rounding. Captum clones a layer's output too, so it is right in place."""
    attr = pytest.importorskip("captum.attr", reason="captum isn't installed")
    model, images = net(name)
    model, images = model.double(), images.double()
    layers = spatial_layers(model, images)
    before = before_in_place_modules(model, layers)
    assert len(layers) > 15
    assert before
    if name == "densenet121":  # its 428 layers are of a few kinds
        layers = layers[::12] + before[-3:] + layers[-3:]
    lit = 0
    for layer in layers:
        module = model.get_submodule(layer)
        theirs = attr.LayerGradCam(model, module).attribute(images, TARGETS, relu_attributions=True)[:, 0].detach()
        ours = sightline.maps(model, images, TARGETS, layer=layer)
        assert ours.shape == theirs.shape, layer
        assert float((ours - theirs).abs().max()) <= 1e-10 * float(theirs.abs().max()), layer
        lit += bool(ours.any())
    assert lit > 0.9 * len(layers)


@pytest.mark.parametrize("name", NETS)
def test_equals_float64_before_in_place_steps(name: str) -> None:
    """Float32 maps are within 1e-5 of float64 ones in which no module overwrites its input; four layers in one pass.

    Or within what float32 itself is off by, where a ReLU's input lies so near to 0 that rounding decides.
    """
    model, images = net(name)
    chosen = before_in_place_modules(model, spatial_layers(model, images))[-4:]
    for layer, found in zip(chosen, sightline.maps(model, images, TARGETS, layer=chosen), strict=True):
        true = grad_cam_of(*without_overwriting(model, layer, images, TARGETS, torch.float64))
        rounded = grad_cam_of(*without_overwriting(model, layer, images, TARGETS, torch.float32))
        assert true.any(), layer
        assert relative_error(found, true) < max(1e-5, 2 * relative_error(rounded, true)), layer


# pytorch-grad-cam. Its maps come normalised and resized, so ours and the true ones are put through its own scaling.


@pytest.fixture
def peer() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pytorch_grad_cam", reason="pytorch-grad-cam isn't installed")


def scaled(maps: Tensor, images: Tensor) -> Tensor:
    from pytorch_grad_cam.utils.image import scale_cam_image

    size = (images.shape[-1], images.shape[-2])
    return torch.from_numpy(scale_cam_image(scale_cam_image(maps.float().numpy(), size)))


def theirs(peer: Any, method: str, model: nn.Module, layer: str, images: Tensor, targets: list[int]) -> Tensor:
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with getattr(peer, method)(model, [model.get_submodule(layer)]) as cam:
        return torch.from_numpy(cam(images, [ClassifierOutputTarget(target) for target in targets]))


@pytest.mark.parametrize(("method", "name", "error"), [
    ("grad-cam", "GradCAM", 1e-4), ("xgrad-cam", "XGradCAM", 1e-3), ("layer-cam", "LayerCAM", 1e-4),
    ("hires-cam", "HiResCAM", 1e-4),
])  # fmt: skip
def test_equals_pytorch_grad_cam_where_nothing_is_overwritten(peer: Any, method: str, name: str, error: float) -> None:
    model, images = net("resnet18")
    ours = scaled(sightline.maps(model, images, TARGETS, layer="layer4", method=method).relu(), images)
    found = theirs(peer, name, model, "layer4", images, TARGETS)
    assert float((ours - found).abs().max()) < error


@pytest.mark.parametrize(("name", "layer"), [
    ("vgg11", "features.18"), ("vgg11", "features.16"), ("resnet18", "layer1.0.bn1"), ("resnet18", "layer3.1.bn1"),
    ("squeezenet1_1", "features.12.squeeze"),
])  # fmt: skip
def test_pytorch_grad_cam_is_wrong_before_an_in_place_step(peer: Any, name: str, layer: str) -> None:
    """On a CPU it keeps the layer's own memory, which the ReLU after the layer overwrites."""
    model, images = net(name)
    true = scaled(grad_cam_of(*without_overwriting(model, layer, images, TARGETS)), images)
    ours = scaled(sightline.maps(model, images, TARGETS, layer=layer), images)
    found = theirs(peer, "GradCAM", model, layer, images, TARGETS)
    assert float((ours - true).abs().max()) < 1e-4
    assert float((found - true).abs().max()) > 0.05


def test_pytorch_grad_cam_plus_plus_is_wrong_at_small_gradients(peer: Any) -> None:
    """Its epsilon of 1e-6 stands beside squared gradients, here of 1e-5 and less; the paper has none."""
    model = seeded(Pooled)
    with torch.no_grad():
        model.head.weight.mul_(1e-3)
    images = image(2, 12, 12)
    activations, gradients = without_overwriting(model, "features", images, [1, 2])
    below = 2 * gradients**2 + gradients**3 * activations.sum((2, 3), keepdim=True)
    alpha = torch.where(gradients != 0, gradients**2 / below, 0)
    weights = (alpha * gradients.clamp(min=0)).sum((2, 3))
    true = torch.einsum("nc,nchw->nhw", weights, activations).clamp(min=0)
    assert gradients.abs().max() < 1e-4
    ours = sightline.maps(model, images, [1, 2], layer="features", method="grad-cam++")
    found = theirs(peer, "GradCAMPlusPlus", model, "features", images, [1, 2])
    assert relative_error(ours, true) < 1e-5
    assert float((found - scaled(true, images)).abs().max()) > 0.05


def test_pytorch_grad_cam_gives_zeros_for_images_without_a_target(peer: Any) -> None:
    """A list of targets that is too short is an error here."""
    model, images = net("resnet18")
    found = theirs(peer, "GradCAM", model, "layer4", images, TARGETS[:1])
    assert found[0].any()
    assert not found[1].any()
    with pytest.raises(TargetError, match="1 targets were given for 2 images"):
        sightline.maps(model, images, TARGETS[:1], layer="layer4")


def test_pytorch_grad_cam_leaves_the_model_changed(peer: Any) -> None:
    """It ends in eval mode with other gradients; here both are as they were."""
    for ours in (True, False):
        model, images = net("resnet18")
        model.train()
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        if ours:
            sightline.maps(model, images, TARGETS, layer="layer4")
        else:
            theirs(peer, "GradCAM", model, "layer4", images, TARGETS)
        assert model.training == ours
        assert all((parameter.grad == 1).all() for parameter in model.parameters()) == ours
