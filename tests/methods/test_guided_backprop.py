"""Guided backpropagation against custom functions in every ReLU's place, by hand, and where the peers are wrong."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from nets import Deep, image, relative_error, roughened, seeded
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close
from torchvision import models

import sightline
from sightline.errors import MethodError

RELUS = {
    *(F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_),
    *(F.relu6, F.hardtanh, Tensor.clamp_min),
}


class Guided(torch.autograd.Function):
    """A ReLU whose gradient is the guided one: of positive inputs, and positive."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, most: float) -> Tensor:
        ctx.save_for_backward((values > 0) & (values < most))
        return values.clamp(0, most)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * (gradient > 0) * ctx.saved_tensors[0], None


class Deconv(Guided):
    """A ReLU whose gradient is the deconvnet's: what is positive, whatever the input."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * (gradient > 0), None


class Replaced(TorchFunctionMode):
    """Inside, every ReLU that the net calls, by whatever name, is the custom function, out of place."""

    def __init__(self, rule: type[Guided]) -> None:
        super().__init__()
        self.rule, self.calls = rule, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in RELUS:
            return func(*args, **(kwargs or {}))
        self.calls += 1
        return self.rule.apply(args[0], 6.0 if func in (F.relu6, F.hardtanh) else torch.inf)


def derived(model: nn.Module, images: Tensor, targets: list[int], rule: type[Guided], calls: int) -> Tensor:
    """The gradients (N, C, H, W) in the image by custom functions; the net must have called that many ReLUs."""
    leaf = images.clone().requires_grad_()
    with Replaced(rule) as mode:
        scores = copy.deepcopy(model)(leaf)[range(len(images)), targets]
    assert mode.calls == calls
    return torch.autograd.grad(scores.sum(), leaf)[0]


STYLES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "module": lambda net, x: net.relu(x),
    "module in place": lambda net, x: net.in_place(x),
    "function": lambda _, x: F.relu(x),
    "function in place": lambda _, x: F.relu(x, inplace=True),
    "torch": lambda _, x: torch.relu(x),
    "method": lambda _, x: x.relu(),
    "method in place": lambda _, x: x.relu_(),
    "six": lambda net, x: net.six(x),
    "clamp": lambda _, x: x.clamp_min(0),
}


class Styled(nn.Module):
    """Two ReLUs called in a style, after convolutions; a residual sum lies beside the second."""

    def __init__(self, style: str) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.relu, self.in_place, self.six = nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6()
        self.head = nn.Linear(8, 4)
        self.style = STYLES[style]

    def forward(self, images: Tensor) -> Tensor:
        early = self.style(self, 4 * self.first(images))
        return self.head((self.style(self, self.second(early)) + early).mean((2, 3)))


@pytest.mark.parametrize("style", STYLES)
def test_equals_custom_functions_however_the_relu_is_written(style: str) -> None:
    """Each net uses one module, or one function, twice."""
    model, images = seeded(lambda: Styled(style)).double(), image(2, 7, 6, dtype=torch.float64)
    true = derived(model, images, [2, 0], Guided, 2).abs().amax(1)
    found = sightline.maps(model, images, [2, 0], method="guided-backprop")
    assert_close(found, true)
    assert not torch.equal(found, sightline.maps(model, images, [2, 0], method="saliency"))


@pytest.mark.parametrize(("name", "calls"), [("googlenet", 57), ("densenet121", 121), ("resnet50", 49)])
def test_equals_custom_functions_on_large_nets(name: str, calls: int) -> None:
    """Googlenet calls a function in place, densenet121 modules and a function, resnet50 each module three times."""
    extra = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    model = roughened(seeded(lambda: getattr(models, name)(num_classes=10, **extra)))
    images = image(1, 64, 64)
    true = derived(model, images, [3], Guided, calls).abs().amax(1)
    assert relative_error(sightline.maps(model, images, 3, method="guided-backprop"), true) < 1e-5


def test_by_hand() -> None:
    """score = relu(relu(2 x) - relu(-x)) - relu(x), of red at one pixel with x = 3.

    Back from 1: the outer ReLU passes 1 to the first inner one, on to 2; -1 to the second, which is
    cut, and would have been for its input; the last has -1, cut. The gradient proper is 2 - 1.
    """
    images = torch.zeros(1, 3, 1, 1)
    images[0, 0] = 3
    model = lambda x: ((2 * x).relu() - (-x).relu()).relu() - x.relu()  # noqa: E731

    class Net(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return model(images[:, :1].mean((2, 3)))

    assert sightline.maps(Net(), images, 0, method="guided-backprop").item() == 2
    assert sightline.maps(Net(), images, 0, method="saliency").item() == 1
    assert sightline.maps(Net(), -images, 0, method="guided-backprop").item() == 0


def test_one_after_another_and_several_targets_share_no_state() -> None:
    model, images = seeded(lambda: Styled("module in place")).double(), image(2, 7, 6, dtype=torch.float64)
    plain = sightline.maps(model, images, 1, method="saliency")
    found = sightline.maps(model, images, [[1, 3]] * 2, method="guided-backprop")
    assert torch.equal(sightline.maps(model, images, 1, method="saliency"), plain)
    assert_close(found[:, 1], sightline.maps(model, images, 3, method="guided-backprop"))


@pytest.mark.parametrize("method", ["guided-backprop", "deconvnet", "guided-grad-cam"])
@pytest.mark.parametrize(
    ("build", "culprit"),
    [
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(inplace=True)), "Silu"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.GELU()), "Gelu"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU()), "LeakyRelu"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardswish()), "Hardswish"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh()), "none lies on the way"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3)), "none lies on the way"),
    ],
)
def test_other_activations_are_refused_by_name(method: str, build: Callable[[], nn.Module], culprit: str) -> None:
    model = seeded(lambda: nn.Sequential(build(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)))
    with pytest.raises(MethodError, match=f"defined for ReLUs.*{culprit}.*saliency"):
        sightline.maps(model, image(), 0, layer="0.0", method=method)
    with pytest.raises(MethodError, match="none lies on the way"):
        sightline.maps(seeded(Deep), image(), 0, layer="features", method=method)


# The peers.


def modular() -> nn.Module:
    """A net all of whose ReLUs are modules, each called once, none in place."""
    convs = [nn.Sequential(nn.Conv2d(a, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()) for a in (3, 8, 8)]
    return nn.Sequential(*convs, nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def captums(model: nn.Module, images: Tensor, targets: list[int]) -> Tensor:
    attr = pytest.importorskip("captum.attr", reason="captum isn't installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it sets hooks
        found = attr.GuidedBackprop(model).attribute(images.clone().requires_grad_(), targets)
    return found.abs().amax(1).detach()


def pytorch_grad_cams(model: nn.Module, images: Tensor, target: int) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = pytest.importorskip("pytorch_grad_cam", reason="pytorch-grad-cam isn't installed")
    found = peer.GuidedBackpropReLUModel(model, "cpu")(images.clone(), target)
    return torch.from_numpy(found).abs().amax(2)[None]


def test_equals_captum_and_pytorch_grad_cam_where_every_relu_is_a_module() -> None:
    model, images = roughened(seeded(modular)).double(), image(2, 8, 8, dtype=torch.float64)
    ours = sightline.maps(model, images, [2, 0], method="guided-backprop")
    assert_close(ours, captums(model, images, [2, 0]))
    assert_close(ours[:1], pytorch_grad_cams(model, images[:1], 2))


@pytest.mark.parametrize("style", ["function", "function in place", "torch", "method"])
def test_peers_give_a_plain_gradient_where_relu_is_called_as_a_function(style: str) -> None:
    model, images = seeded(lambda: Styled(style)), image(1, 7, 6)
    plain = sightline.maps(model, images, 2, method="saliency")
    ours = sightline.maps(model, images, 2, method="guided-backprop")
    assert relative_error(plain, ours) > 0.1
    for theirs in (captums(model, images, [2]), pytorch_grad_cams(model, images, 2)):
        assert_close(theirs, plain)


def test_pytorch_grad_cam_leaves_other_relus_than_it_found() -> None:
    model, images = seeded(lambda: Styled("module in place")), image(1, 7, 6)
    kept = model.in_place
    sightline.maps(model, images, 2, method="guided-backprop")
    assert model.in_place is kept
    pytorch_grad_cams(model, images, 2)
    assert model.in_place is not kept
    assert not model.in_place.inplace
