"""Weights drawn anew: which, how many, from which distribution; and that nothing else changes."""

import copy
import threading
from collections.abc import Callable

import pytest
import torch
import torchvision
from nets import Detours, Residual, Reused, Trained, Vit, image, roughened, seeded
from torch import Tensor, nn
from vits import swin

import sightline
from sightline import engine
from sightline.errors import MethodError, ModelError
from sightline.randomised import from_the_logits, randomised


class Stack(nn.Module):
    """`count` linear layers, defined in the opposite order of their calls."""

    def __init__(self, count: int, width: int = 3) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({str(i): nn.Linear(width, width) for i in reversed(range(count))})

    def forward(self, images: Tensor) -> Tensor:
        values = images.mean((2, 3))
        for i in range(len(self.layers)):
            values = self.layers[str(i)](values)
        return values


class Tied(nn.Module):
    """Two layers with one weight, which the module's own forward reads a third time."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.first.weight = self.second.weight

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.first(images.mean((2, 3)))) @ self.first.weight


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    """The names of what differs in two modules' parameters and buffers."""
    new = after.state_dict()
    return {name for name, value in before.state_dict().items() if not torch.equal(value, new[name])}


def resnet18() -> nn.Module:
    return torchvision.models.resnet18(weights=None)


def test_the_cascade_of_a_residual_net_runs_from_the_logits_to_the_image() -> None:
    net = seeded(resnet18)
    names = from_the_logits(net, image(1, 64, 64))
    assert names[:5] == ["fc", "layer4.1.bn2", "layer4.1.conv2", "layer4.1.bn1", "layer4.1.conv1"]
    assert names[-4:] == ["layer1.0.bn1", "layer1.0.conv1", "bn1", "conv1"]
    assert len(names) == len(set(names)) == 41


def test_the_cascade_of_a_transformer_ends_at_patches_positions_and_class_token() -> None:
    names = from_the_logits(seeded(Vit), image(1, 16, 16))
    block = "encoder.layers.encoder_layer_1"
    assert names[:8] == [
        "heads.head", "encoder.ln", f"{block}.mlp.3", f"{block}.mlp.0", f"{block}.ln_2",
        f"{block}.self_attention.out_proj", f"{block}.self_attention", f"{block}.ln_1",
    ]  # fmt: skip
    assert names[-3:] == ["encoder", "conv_proj", ""]
    names = from_the_logits(swin("torchvision"), image(1, 32, 32))
    at = names.index("features.1.0.attn")  # it reads the weights of its parts without calling them
    assert names[at - 3 : at + 2] == [
        "features.1.0.norm2", "features.1.0.attn.proj", "features.1.0.attn.qkv", "features.1.0.attn",
        "features.1.0.norm1",
    ]  # fmt: skip


def test_the_pass_decides_and_without_an_image_the_definition() -> None:
    net = seeded(lambda: Stack(3))
    assert from_the_logits(net, image(2)) == ["layers.2", "layers.1", "layers.0"]
    assert from_the_logits(net) == ["layers.0", "layers.1", "layers.2"]


def test_a_layer_called_again_counts_as_of_its_last_call_and_one_never_called_comes_last() -> None:
    assert from_the_logits(seeded(Reused), image(1)) == ["head", "shared", "stem"]
    assert from_the_logits(seeded(Detours), image(1)) == ["head", "conv", "aside", "spare"]

    class Again(Stack):
        def forward(self, images: Tensor) -> Tensor:
            return self.layers["0"](super().forward(images))

    assert from_the_logits(seeded(lambda: Again(3)), image(1)) == ["layers.0", "layers.2", "layers.1"]


def test_calls_are_listed_in_the_order_in_which_the_last_of_each_ends() -> None:
    net = seeded(Reused).train()
    assert engine.called(net, image(1)) == ["stem", "shared", "head"]
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
    nested = nn.Sequential(nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(inplace=True)), nn.Flatten(), nn.Identity())
    assert engine.called(nested, image(1)) == ["0.0", "0.1", "0", "1", "2"]


@pytest.mark.parametrize(
    ("share", "count"), [(1e-9, 1), (0.1, 1), (0.29, 1), (0.3, 2), (0.5, 3), (0.69, 3), (0.7, 4), (0.9, 5), (1, 5)]
)
def test_a_share_is_rounded_to_whole_modules_one_at_least(share: float, count: int) -> None:
    net = seeded(lambda: Stack(5))
    names = [f"layers.{4 - i}.{kind}" for i in range(count) for kind in ("weight", "bias")]
    assert changed(net, randomised(net, share, 0, image(1))) == set(names)


def test_the_cascade_keeps_what_it_has_drawn() -> None:
    net = seeded(lambda: Stack(5))
    whole = randomised(net, 1.0, 3, image(1)).state_dict()
    part = randomised(net, 0.4, 3, image(1))
    assert all(torch.equal(part.state_dict()[name], whole[name]) for name in changed(net, part))
    assert changed(part, randomised(net, 0.4, 4, image(1))) == changed(net, part)


def test_what_is_drawn_is_normal_noise_of_the_tensors_own_mean_and_deviation() -> None:
    net = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 300)))
    with torch.no_grad():
        net[1].weight.mul_(3).add_(0.2)
    generator = torch.Generator().manual_seed(7)
    found = randomised(net, 1, 7)
    for name in ("weight", "bias"):
        given = getattr(net[1], name).detach().double()
        spread = ((given - given.mean()) ** 2).mean().sqrt()
        drawn = given.mean() + spread * torch.randn(given.shape, generator=generator, dtype=torch.float64)
        assert torch.equal(getattr(found[1], name), drawn.float())
    weight, old = found[1].weight.detach(), net[1].weight.detach()
    assert float(weight.mean()) == pytest.approx(float(old.mean()), rel=0.01)
    assert float(weight.std()) == pytest.approx(float(old.std()), rel=0.01)
    assert abs(float(torch.corrcoef(torch.stack([weight.flatten(), old.flatten()]))[0, 1])) < 0.02


def test_equal_values_integers_and_buffers_stay() -> None:
    net = roughened(seeded(Trained))
    found = randomised(net, 1, 0)
    assert changed(net, found) == {"conv.weight", "conv.bias", "norm.weight", "norm.bias", "head.weight", "head.bias"}
    fresh = seeded(Trained)
    assert not changed(fresh, randomised(fresh, 1, 0)) & {"norm.weight", "norm.bias"}

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.whole = nn.Parameter(torch.arange(4), requires_grad=False)
            self.empty = nn.Parameter(torch.zeros(0))
            self.one = nn.Parameter(torch.tensor(5.0))

    odd = Odd()
    assert not changed(odd, randomised(odd, 1, 0))


def test_the_model_given_and_the_random_state_stay_as_they_were() -> None:
    net = roughened(seeded(Trained)).train()
    net.conv.weight.requires_grad_(False)
    before, state = copy.deepcopy(net), torch.get_rng_state()
    found = randomised(net, 1, 0, image(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert not changed(before, net)
    assert {p.data_ptr() for p in net.parameters()}.isdisjoint(p.data_ptr() for p in found.parameters())
    assert found.training
    assert not found.conv.weight.requires_grad
    assert found.conv.bias.requires_grad
    assert not changed(found, randomised(net, 1, 0, image(2)))


def test_shared_weights_stay_shared_and_are_drawn_once() -> None:
    net = seeded(Tied)
    found = randomised(net, 1, 0, image(1))
    assert found.first.weight is found.second.weight
    drawn = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    given = net.first.weight.detach().double()
    assert torch.equal(found.first.weight, (given.mean() + given.std(correction=0) * drawn).float())
    half = randomised(net, 0.5, 0, image(1))
    assert half.first.weight is half.second.weight
    assert changed(net, half) == {"first.weight", "second.weight", "second.bias"}


def test_the_dtype_stays() -> None:
    net = seeded(lambda: Stack(2)).to(torch.bfloat16)
    assert {p.dtype for p in randomised(net, 1, 0).parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("build", [resnet18, lambda: roughened(Residual()), Vit, lambda: sightline.load().module])
def test_activations_keep_their_scale(build: Callable[[], nn.Module]) -> None:
    net = seeded(build)
    images = image(4, 16, 16) if isinstance(net, Vit) else image(4, 48, 48)
    usual = engine.answered(net, images)
    for share in (0.3, 1):
        scores = engine.answered(randomised(net, share, 0, images), images)
        assert scores.isfinite().all()
        assert 0.2 < float(scores.std() / usual.std()) < 5
        assert not torch.allclose(scores, usual, atol=0.01)


def test_a_wrapped_model_is_copied_without_its_wrapper() -> None:
    net = seeded(lambda: Stack(2))
    found = randomised(nn.DataParallel(net), 0.5, 0, image(1))
    assert isinstance(found, Stack)
    assert changed(net, found) == {"layers.1.weight", "layers.1.bias"}


def test_a_model_that_cannot_be_copied_is_named() -> None:
    net = seeded(lambda: Stack(2))
    net.lock = threading.Lock()
    with pytest.raises(ModelError, match=r"Stack can't be copied.*lock.*deepcopy"):
        randomised(net, 1, 0)
    net.lock = nn.Linear(2, 2).weight * 2
    with pytest.raises(ModelError, match=r"Stack can't be copied"):
        randomised(net, 1, 0)


def test_nothing_to_draw_is_named() -> None:
    with pytest.raises(ModelError, match="Flatten has no weights"):
        randomised(nn.Flatten(), 1, 0)


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_another_share_is_refused(share: float) -> None:
    with pytest.raises(MethodError, match="above 0 and at most 1"):
        randomised(seeded(Trained), share, 0)
