"""FullGrad: completeness, the authors' map in loops, a net solved by hand, and pytorch-grad-cam, which is wrong."""

import warnings
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import Deep, Pooled, image, relative_error, roughened, seeded
from test_guided_grad_cam import bilinear
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.testing import assert_close
from torchvision.models import resnet18

import sightline
from sightline.errors import MethodError


class Rough(nn.Module):
    """A piecewise linear net: convolutions with bias and without, two kinds of batch norm, pooling, a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(2)
        self.second, self.bare = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4, affine=False)
        self.hidden, self.head = nn.Linear(4, 5), nn.Linear(5, 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        early = self.pool(self.relu(self.norm(self.first(images))))
        late = self.relu(self.bare(self.second(early))) + early
        return self.head(self.relu(self.hidden(late.mean((2, 3)))))


def rough(seed: int = 0) -> nn.Module:
    net = seeded(Rough, seed)
    generator = torch.Generator().manual_seed(seed)
    for norm in (net.norm, net.bare):
        norm.running_mean.copy_(torch.randn(4, generator=generator))
        norm.running_var.copy_(torch.rand(4, generator=generator) + 0.5)
    return net.double()


def terms(model: nn.Module, images: Tensor, targets: list[int]) -> list[Tensor]:
    """x g and every b g (N, C, ...), by gradients with respect to zeros that are added to what layers give."""
    seen: list[tuple[Tensor, Tensor]] = []

    def add(module: Any, inputs: Any, output: Tensor) -> Tensor:
        if isinstance(module, nn.BatchNorm2d):
            scale = 1 / (module.running_var + module.eps) ** 0.5
            bias = -module.running_mean * scale
            if module.affine:
                bias = bias * module.weight + module.bias
        else:
            bias = module.bias
        zero = torch.zeros_like(output, requires_grad=True)
        seen.append((zero, bias.view(1, -1, *[1] * (output.ndim - 2)).detach()))
        return output + zero

    kinds = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    layers = [m for m in model.modules() if isinstance(m, kinds) and not (m.bias is None and hasattr(m, "stride"))]
    handles = [layer.register_forward_hook(add) for layer in layers]
    leaf = images.clone().requires_grad_()
    score = model(leaf)[range(len(images)), targets].sum()
    for handle in handles:
        handle.remove()
    gradients = torch.autograd.grad(score, [leaf, *(zero for zero, _ in seen)])
    return [images * gradients[0], *(bias * g for (_, bias), g in zip(seen, gradients[1:]))]


@given(st.integers(0, 2**31))
def test_the_terms_are_the_score(seed: int) -> None:
    """The decomposition that the map is made of, on a net with two kinds of batch norm; and it isn't refused."""
    model, images = rough(seed), image(2, 6, 8, seed=seed, dtype=torch.float64)
    found = terms(model, images, [2, 0])
    assert len(found) == 6
    total = sum(term.flatten(1).sum(1) for term in found)
    assert_close(total, model(images)[[0, 1], [2, 0]])
    assert sightline.maps(model, images, [2, 0], method="full-grad").isfinite().all()


def test_equals_the_authors() -> None:
    """Each layer's terms made absolute, from 0 to 1 over all it has, upsampled and summed, in plain loops."""
    model, images, targets = rough(), image(2, 6, 8, dtype=torch.float64), [2, 0]
    found = sightline.maps(model, images, targets, method="full-grad")
    for n in range(2):
        true = torch.zeros(6, 8, dtype=torch.float64)
        for term in terms(model, images, targets):
            if term.ndim == 2:  # a layer without positions
                continue
            sizes = term[n].abs()
            low, high = min(sizes.flatten().tolist()), max(sizes.flatten().tolist())
            for channel in sizes:
                rescaled = [[(value - low) / (high - low) for value in row] for row in channel.tolist()]
                true += torch.tensor(bilinear(rescaled, 6, 8), dtype=torch.float64)
        assert_close(found[n], true)


def test_by_hand() -> None:
    """score = mean relu(red + 2): image terms red / 2, bias terms 1 and 0, where the ReLU is open and shut."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Conv2d(3, 1, 1)
            with torch.no_grad():
                self.shift.weight.copy_(torch.tensor([1.0, 0, 0])[None, :, None, None])
                self.shift.bias.fill_(2)

        def forward(self, images: Tensor) -> Tensor:
            return self.shift(images).relu().mean((2, 3))

    images = torch.zeros(1, 3, 1, 2)
    images[0, 0] = torch.tensor([[4.0, -3]])
    found = sightline.maps(Net(), images, 0, method="full-grad")
    assert_close(found, torch.tensor([[[1 + 1.0, 0 + 0]]]))
    images[0, 0] = torch.tensor([[4.0, -1]])  # image terms 2 and 1/2, beside zeros of other channels; bias terms even
    assert_close(sightline.maps(Net(), images, 0, method="full-grad"), torch.tensor([[[1, 0.25]]]))


def test_float32_of_a_deep_net_is_complete_enough() -> None:
    model, images = roughened(seeded(lambda: resnet18(num_classes=10))), image(2, 40, 48)
    found = sightline.maps(model, images, [3, 1], method="full-grad")
    true = sightline.maps(model.double(), images.double(), [3, 1], method="full-grad")
    assert relative_error(found, true) < 1e-3


@pytest.mark.parametrize(
    "build",
    [
        Deep,  # a square and a tanh
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(4 * 36, 3)),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(4 * 36, 3)),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.Flatten(), nn.Linear(4 * 36, 3)),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.LayerNorm(5), nn.Linear(5, 3)),
    ],
)
def test_a_score_that_is_not_the_sum_is_refused(build: Any) -> None:
    images = 20 * image(2)  # reaches ReLU6's upper kink, which is a constant
    with pytest.raises(MethodError, match="full-grad needs .* sum to .* while the score is .*integrated-gradients"):
        sightline.maps(seeded(build), images, 1, method="full-grad")


@pytest.mark.parametrize("share", [0.01, -0.001])
def test_a_constant_that_no_bias_holds_is_refused_even_if_small(share: float) -> None:
    model, images = seeded(Pooled), image(1)
    constant = share * float(model(images)[0, 1].detach())
    with pytest.raises(MethodError, match="full-grad"):
        sightline.maps(model, images, lambda out: out[:, 1] + constant, method="full-grad")


def test_a_score_that_is_nearly_0_is_not_refused_for_rounding() -> None:
    """Terms of 1000 and more cancel: what is left is off by more than the score is."""
    model, images = seeded(Pooled), 1e4 * image(1)
    with torch.no_grad():
        model.head.bias[1] -= model(images)[0, 1]
    score = model(images)[0, 1].detach()
    assert abs(score) < 1e-3
    assert sightline.maps(model, images, 1, method="full-grad").any()


def test_a_target_that_is_no_sum_of_logits_is_refused_and_others_are_not() -> None:
    model, images = seeded(Pooled), image()
    with pytest.raises(MethodError, match="full-grad"):
        sightline.maps(model, images, lambda out: out.softmax(1)[:, 1], method="full-grad")
    for target in ("not:1", "1-vs:2", "finer:1"):
        assert sightline.maps(model, images, target, method="full-grad").any()


def test_pytorch_grad_cam_rescales_each_channel_alone_and_misses_batch_norms_without_bias() -> None:
    """So that a channel that hardly counts is as bright as the strongest; maps come normalised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = pytest.importorskip("pytorch_grad_cam", reason="pytorch-grad-cam isn't installed")
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    model, images = rough(), image(1, 6, 8, dtype=torch.float64)
    with peer.FullGrad(model.float(), []) as method:
        theirs = torch.from_numpy(method(images.float(), [ClassifierOutputTarget(2)]))[0]

    def normal(maps: Tensor) -> Tensor:
        above = maps - maps.amin((-2, -1), keepdim=True)
        return above / above.amax((-2, -1), keepdim=True).clamp(min=1e-9)

    own = sightline.maps(model, images.float(), 2, method="full-grad")[0]
    of_pixels, norm, second, *_ = terms(model.double(), images, [2])
    alone = [interpolate(normal(term.abs()), (6, 8), mode="bilinear").sum(1)[0] for term in (of_pixels, norm, second)]
    assert relative_error(theirs, normal(sum(alone))) < 1e-3
    assert relative_error(normal(own), theirs) > 0.05
