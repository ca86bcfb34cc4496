"""Relevance propagation against sums written as loops, zennit and captum, and what it can't follow."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from nets import Residual, Vit, image, roughened, seeded, without_in_place
from torch import Tensor, nn
from torch.testing import assert_close
from torchvision import models
from torchvision.models.vgg import make_layers

import sightline
from sightline.engine.propagation import relevances
from sightline.errors import CutOff, LayerNotReached, MethodError
from sightline.layers import Layout, Order, find
from sightline.types import Share, Sharing

EPSILON, PLUS, GAMMA, FLAT = Share.EPSILON, Share.PLUS, Share.GAMMA, Share.FLAT
WINNING = Sharing(PLUS, PLUS, PLUS, sums=PLUS, probability=True)
LRP_0 = Sharing(EPSILON, EPSILON, EPSILON, epsilon=0)
RULES = {
    "epsilon": Sharing(EPSILON, EPSILON, EPSILON, epsilon=0.1),
    "z-plus": Sharing(PLUS, PLUS, PLUS, sums=PLUS),
    "gamma": Sharing(GAMMA, GAMMA, GAMMA, epsilon=1e-3, gamma=0.5),
    "composite": Sharing(PLUS, EPSILON, FLAT, epsilon=1e-3),
}


def asked(
    model: nn.Module,
    images: Tensor,
    layer: str | None,
    sharing: Sharing,
    seeds: Any = (0, 1),
    *,
    contrast: bool = False,
) -> tuple[Tensor, Tensor, Layout | None]:
    """Output, relevance and layout for classes, or for rows of weights of the classes, asked of each image."""

    def seeds_of(output: Tensor) -> tuple[Tensor, Tensor]:
        rows = torch.zeros(len(seeds), output.shape[1], dtype=output.dtype)
        for k, seed in enumerate(seeds):
            rows[k] = torch.tensor(seed, dtype=output.dtype) if isinstance(seed, Sequence) else F.one_hot(
                torch.tensor(seed), output.shape[1]
            )  # fmt: skip
        return output, rows.expand(len(output), -1, -1)

    found = relevances(model, images, layer and find(model, layer), seeds_of, sharing, contrast=contrast)
    assert_close(found[0].detach(), model(images).detach(), rtol=0, atol=0)
    return found


def found(*args: Any, **named: Any) -> Tensor:
    return asked(*args, **named)[1]


# The rules as loops.


class Branching(nn.Module):
    """Batch norm after a convolution and by itself, a residual sum, a concatenation, both poolings, a head of two."""

    def __init__(self, activation: Callable[[Tensor], Tensor], channels: int = 4, classes: int = 3) -> None:
        super().__init__()
        self.activation = activation
        self.stem = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.side = nn.Conv2d(channels, 3, 1)
        self.alone = nn.BatchNorm2d(channels + 3)
        self.first = nn.Linear(channels + 3, 5)
        self.last = nn.Linear(5, classes)

    def forward(self, images: Tensor) -> Tensor:
        early = F.max_pool2d(F.relu(self.norm(self.stem(images)), inplace=True), 2)
        summed = self.conv(early)
        summed += early
        joined = torch.cat([summed, torch.relu(self.side(early))], 1)
        features = F.avg_pool2d(self.alone(joined).relu_(), 2).flatten(1)
        return self.last(self.activation(self.first(features)))


def branching(activation: Callable[[Tensor], Tensor] = torch.tanh) -> Branching:
    """Its batch norms have scales of either sign."""
    net = roughened(seeded(lambda: Branching(activation))).double()
    with torch.no_grad():
        net.norm.weight[::2] *= -1
    return net


def shared_by_loops(
    rule: Share, sharing: Sharing, of: Callable[[Tensor], Tensor], x: Tensor, relevance: Tensor
) -> Tensor:
    """Relevance of the inputs x of an affine function of one image from that of its outputs, unit by unit."""
    flat = x.flatten()
    basis = torch.eye(len(flat), dtype=x.dtype).view(len(flat), *x.shape[1:])
    bias = of(torch.zeros_like(x)).flatten()
    weights = ((of(basis) - of(torch.zeros_like(basis))).flatten(1)).tolist()  # input, output
    out = [0.0] * len(flat)
    for k, worth in enumerate(relevance.flatten().tolist()):
        parts = [value * row[k] for value, row in zip(flat.tolist(), weights)]
        b = float(bias[k])
        z = sum(parts) + b
        if rule is EPSILON:
            whole = z + (sharing.epsilon if z >= 0 else -sharing.epsilon)
        elif rule is PLUS:
            parts = [max(part, 0) for part in parts]
            whole = sum(parts)
        elif rule is GAMMA:
            keep = (lambda value: max(value, 0)) if z > 0 else (lambda value: min(value, 0))
            parts = [part + sharing.gamma * keep(part) for part in parts]
            whole = sum(parts) + b + sharing.gamma * keep(b)
        else:
            parts = [float(row[k] != 0) for row in weights]
            whole = sum(parts)
        for j, part in enumerate(parts):
            out[j] += part / whole * worth if whole else 0.0
    return torch.tensor(out, dtype=x.dtype).view(x.shape)


def branching_by_loops(net: Branching, x: Tensor, target: int, sharing: Sharing) -> dict[str, Tensor]:
    """Relevance of one image, unit by unit: in the image, and at the layers `norm` and `conv`."""

    def share(rule: Share, of: Callable[[Tensor], Tensor], values: Tensor, relevance: Tensor) -> Tensor:
        return shared_by_loops(rule, sharing, of, values, relevance)

    with torch.no_grad():
        normed = net.norm(net.stem(x))
        early, places = F.max_pool2d(normed.relu(), 2, return_indices=True)
        conv, side = net.conv(early), net.side(early)
        joined = torch.cat([conv + early, side.relu()], 1)
        active = net.alone(joined).relu()
        features = F.avg_pool2d(active, 2).flatten(1)
        hidden = net.activation(net.first(features))
        scores = net.last(hidden)
        start = torch.zeros_like(scores)
        start[0, target] = 1 if sharing.probability else scores[0, target]
        linear = sharing.linear
        relevance = share(linear, net.first, features, share(linear, net.last, hidden, start))
        relevance = share(sharing.sums, lambda each: F.avg_pool2d(each, 2).flatten(1), active, relevance)
        if sharing.sums is not PLUS:
            relevance = share(EPSILON, net.alone, joined, relevance)
        of_sum, of_side = relevance.split([conv.shape[1], side.shape[1]], 1)
        doubled = share(sharing.sums, lambda each: each[:, :4] + each[:, 4:], torch.cat([conv, early], 1), of_sum)
        of_conv, shortcut = doubled.split(4, 1)
        of_early = shortcut + share(sharing.convolution, net.conv, early, of_conv)
        of_early = of_early + share(sharing.convolution, net.side, early, of_side)
        of_norm = F.max_unpool2d(of_early, places, 2)
        of_image = share(sharing.first, lambda each: net.norm(net.stem(each)), x, of_norm)
    return {"image": of_image, "norm": of_norm, "conv": of_conv}


@pytest.mark.parametrize("name", RULES)
def test_equals_loops_over_all_units(name: str) -> None:
    net, images = branching(), image(2, 4, 6, dtype=torch.float64)
    true = [[branching_by_loops(net, x[None], target, RULES[name]) for target in (0, 2)] for x in images]
    for layer in ("image", "norm", "conv"):
        relevance = found(net, images, None if layer == "image" else layer, RULES[name], (0, 2))
        rows = torch.stack([torch.cat([each[layer] for each in row]) for row in true])
        assert_close(relevance, rows, rtol=1e-9, atol=1e-12)
        assert relevance.abs().max() > 1e-3


def test_excitation_equals_loops_over_all_units() -> None:
    net, images = branching(torch.relu), image(2, 4, 6, dtype=torch.float64)
    true = [[branching_by_loops(net, x[None], target, WINNING) for target in (0, 2)] for x in images]
    for layer in ("norm", "conv"):
        relevance = found(net, images, layer, WINNING, (0, 2))
        assert_close(relevance, torch.stack([torch.cat([each[layer] for each in row]) for row in true]))
        assert relevance.abs().max() > 1e-3


# What is conserved.


def narrow_vgg(*, norm: bool = True) -> nn.Module:
    features = make_layers([8, "M", 16, "M", 32, 32, "M", 64, 64, "M"], batch_norm=norm)
    return nn.Sequential(features, nn.Flatten(), nn.Linear(64 * 16, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 5))


LAYERS: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "vgg": (narrow_vgg, ["0.3", "0.7", "0"]),
    "resnet18": (lambda: models.resnet18(num_classes=5), ["relu", "layer1", "layer3.0", "layer4"]),
    "googlenet": (
        lambda: models.googlenet(num_classes=5, aux_logits=False, init_weights=False),
        ["conv1", "maxpool2", "inception4a", "inception5b"],
    ),
    "densenet121": (lambda: models.densenet121(num_classes=5), ["features.pool0", "features.norm5"]),
    "squeezenet": (lambda: models.squeezenet1_1(num_classes=5), ["features.2", "features.6", "features"]),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_winning_probabilities_sum_to_one_at_every_layer(name: str) -> None:
    build, layers = LAYERS[name]
    net, images = seeded(build), image(1, 64, 64)
    for layer in layers:
        relevance = found(net, images, layer, WINNING, (3,))
        assert relevance.min() >= 0
        assert_close(relevance.sum((2, 3, 4)), torch.ones(1, 1), rtol=1e-4, atol=0)


def without_biases(net: nn.Module) -> nn.Module:
    """A convolution or linear layer has none, and a batch norm shifts nothing."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.zero_()
        if getattr(module, "bias", None) is not None:
            with torch.no_grad():
                module.bias.zero_()
    return net


@pytest.mark.parametrize("name", ["vgg", "resnet18", "squeezenet", "densenet121"])
def test_relevance_sums_to_the_score_of_a_net_without_biases(name: str) -> None:
    net, images = without_biases(seeded(LAYERS[name][0])).double(), image(1, 64, 64, dtype=torch.float64)
    for sharing in (LRP_0, Sharing(GAMMA, GAMMA, GAMMA, epsilon=0), Sharing(PLUS, EPSILON, FLAT, epsilon=0)):
        scores, relevance, _ = asked(net, images, None, sharing, (2, 4))
        assert_close(relevance.sum((2, 3, 4)), scores[:, [2, 4]].detach(), rtol=1e-6, atol=0)


def test_what_is_missing_from_the_score_is_what_biases_keep() -> None:
    """A bias keeps its contribution's share; by the z+ rule none."""
    net, images = nn.Conv2d(1, 1, (1, 2), bias=True), torch.tensor([[[[2.0, 1.0]]]])
    with torch.no_grad():
        net.weight[:], net.bias[:] = torch.tensor([3.0, -1.0]), 5.0
    head = nn.Sequential(net, nn.Flatten())
    assert_close(found(head, images, None, LRP_0, (0,)).flatten(), torch.tensor([6.0, -1.0]))
    assert_close(found(head, images, None, RULES["z-plus"], (0,)).flatten(), torch.tensor([10.0, 0.0]))
    half = Sharing(GAMMA, GAMMA, GAMMA, gamma=0.5)  # 6 + 3, -1 and 5 + 2.5 are parts of 15.5
    assert_close(found(head, images, None, half, (0,)).flatten(), torch.tensor([90 / 15.5, -10 / 15.5]))
    assert_close(found(head, images, None, Sharing(PLUS, PLUS, FLAT), (0,)).flatten(), torch.tensor([5.0, 5.0]))


# The same net written in other ways.


class Ways(nn.Module):
    """One function, of modules or functions, in place or not."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.conv = nn.Conv2d(3, 5, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(5)
        self.relu = nn.ReLU(inplace=way == "in place")
        self.pool, self.mean = nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1)
        self.drop, self.head = nn.Dropout(), nn.Linear(5, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "functional":
            y, norm = torch.conv2d(x, self.conv.weight, None, 1, 1), self.norm
            y = F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.1, norm.eps)
            y = F.max_pool2d(torch.clamp(y, min=0), kernel_size=2)
            y = torch.add(F.pad(y, (1, 1, 1, 1))[:, :, 1:-1, 1:-1], y, alpha=2) - y * 0.5
            return y.sum((2, 3)) / (y.shape[2] * y.shape[3]) @ self.head.weight.T
        y = self.pool(self.relu(self.norm(self.conv(x))))
        if self.way == "in place":
            z = y.clone()
            z += y
            z += y
            z = z.sub_(y.mul(0.5))
        else:
            z = torch.stack([y, y + y]).sum(0) - 0.5 * y
        if self.way == "tokens":
            return self.head(self.drop(z.flatten(2).transpose(1, 2).mean(1)))
        return self.head(torch.flatten(self.drop(self.mean(z)), 1))


@pytest.mark.parametrize("rule", [*RULES, "winning"])
@pytest.mark.parametrize("way", ["functional", "in place", "tokens"])
def test_functions_modules_and_in_place_operations_are_shared_alike(way: str, rule: str) -> None:
    nets = [roughened(seeded(lambda w=w: Ways(w))).double() for w in ("modules", way)]
    images = image(2, 6, 8, dtype=torch.float64)
    sharing = replace(RULES.get(rule, WINNING), epsilon=0)  # an epsilon means more beside a mean than beside a sum
    true, other = (found(net, images, None, sharing) for net in nets)
    assert true.abs().max() > 1e-3
    assert_close(other, true, rtol=1e-9, atol=1e-12)


# Against others.


def by_zennit(model: nn.Module, images: Tensor, target: int, composite: Any) -> Tensor:
    """Its relevance in the image, from the score on."""
    images = images.clone().requires_grad_()
    with composite.context(model) as modified:
        scores = modified(images)
        start = torch.zeros_like(scores)
        start[:, target] = scores[:, target].detach()
        (relevance,) = torch.autograd.grad(scores, images, start)
    return relevance


TINY = 1e-12  # epsilon: zennit's z+ has one too, which ours does without


def exactly_merged(net: nn.Module) -> nn.Module:
    """What zennit leaves of a merged batch norm still divides by sqrt(1 + eps)."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    return net


@pytest.mark.parametrize("name", ["vgg", "resnet18"])
def test_equals_zennit(name: str) -> None:
    """Where it has names for a net's layers, and its z+ is told to leave out the biases.

    By itself it gives a positive bias a share of what excitation backprop and deep Taylor decomposition
    conserve. Functional ReLUs, sums and batch norms after a concatenation, as in GoogLeNet and
    DenseNet, it doesn't see, and takes their gradient.
    """
    composites = pytest.importorskip("zennit.composites", reason="zennit isn't installed")
    rules, kinds = pytest.importorskip("zennit.rules"), pytest.importorskip("zennit.types")
    merging = pytest.importorskip("zennit.torchvision")
    named = {"canonizers": [merging.ResNetCanonizer() if name == "resnet18" else merging.VGGCanonizer()]}
    net = exactly_merged(roughened(seeded(LAYERS[name][0]))).double()
    images = image(1, 64, 64, dtype=torch.float64)
    base = composites.layer_map_base(TINY)
    positive = kinds.Convolution, rules.ZPlus(TINY, zero_params="bias")
    theirs = {
        Sharing(PLUS, EPSILON, FLAT, epsilon=TINY): composites.SpecialFirstLayerMapComposite(
            [*base, positive, (nn.Linear, rules.Epsilon(TINY))], [(kinds.Linear, rules.Flat(TINY))], **named
        ),
        Sharing(EPSILON, EPSILON, EPSILON, epsilon=TINY): composites.LayerMapComposite(
            [*base, (kinds.Linear, rules.Epsilon(TINY))], **named
        ),
        Sharing(GAMMA, GAMMA, GAMMA, gamma=0.3, epsilon=TINY): composites.LayerMapComposite(
            [*base, (kinds.Linear, rules.Gamma(0.3, TINY))], **named
        ),
    }
    for sharing, composite in theirs.items():
        relevance, true = found(net, images, None, sharing, (1,))[:, 0], by_zennit(net, images, 1, composite)
        assert_close(relevance, true, rtol=1e-5, atol=1e-5 * float(true.abs().max()))


def test_excitation_equals_zennit() -> None:
    """On a chain without biases: it shares signed sums by contribution, and a batch norm's by its gradient."""
    composites = pytest.importorskip("zennit.composites", reason="zennit isn't installed")
    net, images = without_biases(seeded(narrow_vgg)).double(), image(2, 64, 64, dtype=torch.float64)
    merging = pytest.importorskip("zennit.torchvision")
    composite = composites.ExcitationBackprop(TINY, canonizers=[merging.VGGCanonizer()])
    relevance = found(exactly_merged(net), images, None, replace(WINNING, probability=False), (1,))[:, 0]
    true = by_zennit(net, images, 1, composite)
    assert_close(relevance, true, rtol=1e-5, atol=1e-5 * float(true.abs().max()))


class Chain(nn.Module):
    """Convolutions, ReLUs and maxima, and a head of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = make_layers([6, "M", 8, 8, "M"])
        self.head = nn.Sequential(nn.Linear(8 * 16, 9), nn.ReLU(), nn.Linear(9, 4))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(torch.flatten(self.features(images), 1))


def test_equals_captum() -> None:
    """On chains without batch norms, functions, in-place operations and residual sums, which it doesn't take.

    Its gamma rule leaves out gamma b+, and favours what is positive in negative sums too: so without
    biases, and for a positive score. Its z+ rule is for inputs that aren't negative.
    """
    attr = pytest.importorskip("captum.attr", reason="captum isn't installed")
    rules = pytest.importorskip("captum.attr._utils.lrp_rules")
    images = image(1, 16, 16, dtype=torch.float64).abs()
    for sharing, rule in (
        (Sharing(EPSILON, EPSILON, EPSILON, epsilon=1e-9), rules.EpsilonRule),
        (Sharing(PLUS, PLUS, PLUS), lambda: rules.Alpha1_Beta0_Rule(set_bias_to_zero=True)),
        (Sharing(GAMMA, GAMMA, GAMMA, gamma=0.25), rules.GammaRule),
    ):
        net = without_in_place(seeded(Chain)).double()
        net = without_biases(net) if sharing.convolution is GAMMA else net
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.rule = rule()
        scores, relevance, _ = asked(net, images, None, sharing)
        best = int(scores.argmax())
        true = attr.LRP(net).attribute(images.clone().requires_grad_(), best).detach()
        relevance = found(net, images, None, sharing, (best,))[:, 0]
        assert_close(relevance, true, rtol=1e-5, atol=1e-5 * float(true.abs().max()))


# Starting from several classes, and from none.


def small() -> nn.Module:
    def build() -> nn.Module:
        return nn.Sequential(make_layers([6, "M", 8]), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))

    return seeded(build)


def test_a_contrast_with_itself_is_exactly_zero() -> None:
    for contrast in (False, True):
        for sharing in (WINNING, *RULES.values()):
            assert not found(small(), image(2), "0.0", sharing, ([0.0] * 4,), contrast=contrast).any()


def test_the_dual_has_the_negated_weights() -> None:
    net, dual, images = small(), small(), image(2)
    with torch.no_grad():
        dual[3].weight.neg_()
    winning, other = (found(each, images, "0.2", WINNING, (1,)) for each in (net, dual))
    assert_close(found(net, images, "0.2", WINNING, (1,), contrast=True), winning - other)
    assert_close(found(net, images, "0.2", WINNING, ([0.0, -1, 0, 0],)), other)
    assert_close(found(net, images, "0.2", WINNING, ([0.0, -1, 0, 0],), contrast=True), other - winning)
    several = found(net, images, "0.2", WINNING, (1, [0.0, -1, 0, 0]), contrast=True)
    assert_close(several, torch.cat([winning - other, other - winning], 1))


def test_classes_weighed_against_each_other_take_the_duals_place() -> None:
    """Each side is a probability, however large its weights are."""
    net, images = small(), image(2)
    p = found(net, images, "0.2", WINNING, (0, 1, 2, 3))
    for contrast in (False, True):
        rows = [[1.0, -1, 0, 0], [0.0, 0, -2, 2], [1.0, -0.5, -0.25, -0.25]]
        relevance = found(net, images, "0.2", WINNING, rows, contrast=contrast)
        true = [p[:, 0] - p[:, 1], p[:, 3] - p[:, 2], p[:, 0] - p[:, 1] / 2 - p[:, 2] / 4 - p[:, 3] / 4]
        assert_close(relevance, torch.stack(true, 1))
    assert_close(found(net, images, "0.2", WINNING, ([3.0, 0, 1, 0],)), (p[:, :1] * 3 + p[:, 2:3]) / 4)


def test_a_last_layer_that_is_a_convolution_has_a_dual_too() -> None:
    """As SqueezeNet's, whose scores are means of its ReLUs."""
    layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    net, images = seeded(lambda: nn.Sequential(*layers)).double(), image(2, dtype=torch.float64)
    nn.init.constant_(net[2].bias, 1.0)
    below = net[:2](images).detach()
    on = net[2:4](below).detach()[:, 1]
    top = on / on.sum((1, 2), keepdim=True)
    weights = net[2].weight.detach()[1, :, 0, 0]
    sides = [below * w.clamp(min=0).view(1, -1, 1, 1) for w in (weights, -weights)]
    this, other = (top[:, None] * side / side.sum(1, keepdim=True).clamp(min=1e-300) for side in sides)
    assert_close(found(net, images, "1", WINNING, (1,), contrast=True)[:, 0], this - other)
    with pytest.raises(MethodError, match="no.* between layer '2' and the score; name a layer before"):
        found(net, images, "2", WINNING, (1,), contrast=True)


def test_relevance_starts_as_the_score() -> None:
    """At a layer that gives the scores themselves: seeds times logits, or the seeds as shares of one."""
    net, images = small(), image(2)
    scores = net(images).detach()
    net = nn.Sequential(net, nn.Unflatten(1, (4, 1, 1)), nn.Upsample(scale_factor=2), nn.MaxPool2d(2), nn.Flatten())
    rows = ([1.0, -2, 0, 0], [0.0, 3, 0, 1])
    scored = found(net, images, "2", LRP_0, rows)
    won = found(net, images, "2", WINNING, rows)
    assert_close(scored.sum((3, 4)), scores[:, None] * torch.tensor(rows))
    assert_close(won.sum((3, 4)), torch.tensor([[1, -1, 0, 0], [0, 0.75, 0, 0.25]]).expand(2, 2, 4))


def test_images_and_targets_together_equal_each_alone() -> None:
    net, images = roughened(seeded(Residual)), image(3, 8, 6)
    for sharing, layer in ((WINNING, "early"), (RULES["composite"], None), (RULES["gamma"], None)):
        together = found(net, images, layer, sharing, (2, 0, 3))
        for n in range(3):
            for k, target in enumerate((2, 0, 3)):
                alone = found(net, images[n : n + 1], layer, sharing, (target,))
                assert_close(together[n, k], alone[0, 0], rtol=1e-4, atol=1e-6)


# What it can and can't follow.


class Tail(nn.Module):
    """A convolution, something, and a head."""

    def __init__(self, something: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.something = something
        self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 3)
        self.gate, self.scale = nn.Linear(4, 4), nn.Parameter(torch.tensor([-1.0, 0.0, 1.0, 2.0]))
        self.group, self.layer_norm = nn.GroupNorm(2, 4), nn.LayerNorm([8, 8])
        self.batch = nn.BatchNorm2d(4, track_running_stats=False)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.something(self, self.conv(images)).flatten(2).mean(2))


def cube(values: Tensor) -> Tensor:
    return Cube.apply(values)


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return values**3

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 3 * ctx.saved_tensors[0] ** 2 * gradient


def attended(net: Any, x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return net.attention(tokens, tokens, tokens, need_weights=False)[0].transpose(1, 2)


def assigned(net: nn.Module, x: Tensor) -> Tensor:
    x[:, :2] = 0
    return x


def doubled(x: Tensor) -> Tensor:
    return x.relu() * 2


REFUSED: dict[str, tuple[Any, str]] = {
    "gate": (lambda net, x: x * net.gate(x.mean((2, 3))).sigmoid()[:, :, None, None], r"torch\.Tensor\.mul.*gate"),
    "square": (lambda net, x: x * x, r"torch\.Tensor\.mul"),
    "power": (lambda net, x: x**2, r"torch\.Tensor\.(__pow__|pow)"),
    "quotient": (lambda net, x: 1 / (x.abs() + 1), r"abs|rdiv|rtruediv|reciprocal"),
    "inverse": (lambda net, x: torch.div(1.0, x), "torch.div"),
    "layer norm": (lambda net, x: net.layer_norm(x), r"torch\.nn\.functional\.layer_norm"),
    "group norm": (lambda net, x: net.group(x), "group_norm"),
    "statistics": (lambda net, x: net.batch(x), "batch_norm by the statistics of the images"),
    "softmax": (lambda net, x: x.softmax(1), r"torch\.Tensor\.softmax"),
    "attention": (attended, "multi_head_attention_forward"),
    "products": (lambda net, x: x @ x.transpose(2, 3), r"torch\.Tensor\.matmul of two values"),
    "weights": (lambda net, x: F.conv2d(x, x[:1, :, :3, :3].expand(4, 4, 3, 3)), "conv2d with weights that depend"),
    "bounds": (lambda net, x: torch.clamp(x, min=x.mean()), "clamp with bounds"),
    "random": (lambda net, x: F.dropout(x, 0.5, training=True), "dropout that drops"),
    "bicubic": (lambda net, x: F.interpolate(x, scale_factor=2, mode="bicubic"), "interpolate by weights"),
    "assignment": (assigned, r"Tensor\.__setitem__, which overwrites"),
    "filling": (lambda net, x: x.fill_(1), r"Tensor\.fill_, which overwrites"),
    "custom": (lambda net, x: cube(x), "can't see into Cube,"),
    "custom after": (lambda net, x: cube(x).relu() + 1, "can't see into Cube,"),
    "scripted": (lambda net, x: torch.jit.script(doubled)(x), "can't see into"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rule_is_refused_by_name(name: str) -> None:
    something, words = REFUSED[name]
    net = seeded(lambda: Tail(something))
    for layer in ("conv", None):
        with pytest.raises(MethodError, match=words):
            relevances(
                net, image(2), layer and find(net, layer), lambda out: (out, torch.ones(2, 1, 3)), LRP_0, contrast=False
            )


def test_what_has_no_rule_may_lie_beside_the_way() -> None:
    def something(net: Any, x: Tensor) -> Tensor:
        net.beside = cube(x.softmax(1)) + net.group(x)
        return x

    plain = seeded(lambda: Tail(lambda net, x: x))
    net = seeded(lambda: Tail(something))
    assert_close(found(net, image(2), None, LRP_0), found(plain, image(2), None, LRP_0))


TAILS: list[Any] = [
    lambda net, x: x * net.scale.view(4, 1, 1),
    lambda net, x: (x - 0.5) / 2 + 0.25,
    lambda net, x: 1 - (-x),
    lambda net, x: x.to(x.dtype) if x.size(0) > 0 and x.shape[1] == 4 and (x > 100).sum() == 0 else x.square(),
    lambda net, x: torch.cat([*x.chunk(2, 1)], 1),
    lambda net, x: torch.stack(x.unbind(1), 1)[:, [0, 1, 2, 3]],
    lambda net, x: torch.where(x > 0, x, 0.1 * x),
    lambda net, x: x.max(3).values + x.amax(3),
    lambda net, x: F.max_pool2d(x, 2, return_indices=True)[0],
    lambda net, x: torch.maximum(x, torch.zeros_like(x)),
    lambda net, x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    lambda net, x: x.masked_fill(x < 0, 0).contiguous().clone().detach().requires_grad_() * 0 + x,
    lambda net, x: F.conv_transpose2d(x, net.conv.weight.transpose(0, 1).repeat(2, 1, 1, 1)[:4, :4]),
    lambda net, x: net.gate.weight @ x.flatten(2),
]


@pytest.mark.parametrize("number", range(len(TAILS)))
def test_without_an_epsilon_relevance_is_input_times_gradient_on_linear_pieces(number: int) -> None:
    net, images = seeded(lambda: Tail(TAILS[number])).double(), image(2, dtype=torch.float64)
    relevance = found(net, images, "conv", LRP_0, (1,))
    values = net.conv(images).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(net.head(net.something(net, values).flatten(2).mean(2))[:, 1].sum(), values)
    assert_close(relevance[:, 0], values.detach() * gradient)


def test_the_other_branch_of_a_sum_has_its_share_whether_or_not_it_passes_the_layer() -> None:
    """The layer is one branch; the other comes from before it. Solved by hand: mean, sum, layer."""
    net, images = seeded(lambda: Tail(lambda net, x: net.gate(x) + x.relu())).double(), image(2, dtype=torch.float64)
    net.gate = nn.Conv2d(4, 4, 1).double()
    branch = net.gate(net.conv(images)).detach()
    shortcut = net.conv(images).detach().relu()
    mean, weights = (branch + shortcut).mean((2, 3), keepdim=True), net.head.weight.detach()[1].view(4, 1, 1)
    of_mean = (mean * weights).clamp(min=0)
    above = (branch + shortcut).clamp(min=0)
    of_sum = of_mean / of_mean.sum(1, keepdim=True) * above / above.sum((2, 3), keepdim=True)
    true = of_sum * branch.clamp(min=0) / (branch.clamp(min=0) + shortcut).clamp(min=1e-300)
    assert_close(found(net, images, "gate", WINNING, (1,))[:, 0], true)


def test_a_factor_of_zero_has_no_relevance() -> None:
    """Though what is added to it may."""
    net, images = seeded(lambda: Tail(lambda net, x: x * net.scale.view(4, 1, 1) + 1)), image(2)
    nn.init.constant_(net.head.weight, 1.0)
    relevance = found(net, images, "conv", WINNING, (1,))[0, 0]
    assert relevance.flatten(1).any(1).tolist() == [True, False, True, True]


class Ignoring(nn.Module):
    """It overwrites its features for the side effect."""

    def __init__(self, *, ignoring: bool) -> None:
        super().__init__()
        self.conv, self.relu, self.head = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Linear(4, 3)
        self.ignoring = ignoring

    def forward(self, images: Tensor) -> Tensor:
        values = self.conv(images)
        if self.ignoring:
            self.relu(values)
        else:
            values = self.relu(values)
        return self.head(values.mean((2, 3)))


def test_a_side_effect_that_is_not_carried_out_is_noticed() -> None:
    target = lambda output: output[:, 1]  # noqa: E731
    assert sightline.maps(seeded(lambda: Ignoring(ignoring=False)), image(2), target, method="lrp-epsilon").any()
    with pytest.raises(MethodError, match="in-place operation for its side effect"):
        sightline.maps(seeded(lambda: Ignoring(ignoring=True)), image(2), target, method="lrp-epsilon")


def test_a_layer_that_is_not_on_the_way_is_refused() -> None:
    net = seeded(lambda: Tail(lambda net, x: x))
    with pytest.raises(LayerNotReached, match="isn't called"):
        found(net, image(2), "group", LRP_0)
    net = seeded(lambda: Tail(lambda net, x: x + 0 * net.group(x).detach()))
    with pytest.raises(CutOff, match="doesn't depend on layer 'group'"):
        found(net, image(2), "group", LRP_0)


def test_weights_that_are_computed_are_weights() -> None:
    """Weight normalisation is recomputed in each pass, out of parameters that want gradients."""
    net, images = small(), image(2)
    true = found(net, images, None, RULES["composite"])
    nn.utils.parametrizations.weight_norm(net[0][0])
    assert_close(found(net, images, None, RULES["composite"]), true)


def test_frozen_weights_and_no_grad_make_no_difference() -> None:
    net, images = small(), image(2)
    true = found(net, images, "0.0", WINNING)
    net.requires_grad_(False)
    with torch.no_grad():
        assert torch.equal(found(net, images, "0.0", WINNING), true)
    with torch.inference_mode():
        assert torch.equal(found(net, images.clone(), "0.0", WINNING), true)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    net, images = seeded(Residual), image(2, 16, 12)
    for layer, sharing in (("early", WINNING), (None, RULES["composite"]), (None, Sharing(EPSILON, EPSILON, EPSILON))):
        true = found(net.float(), images, layer, sharing)
        relevance = found(net.to(dtype), images.to(dtype), layer, sharing)
        assert relevance.dtype is torch.float32
        assert_close(relevance.sum((2, 3, 4)), true.sum((2, 3, 4)), rtol=0.1, atol=0.02)


def test_half_precision_keeps_the_digits_of_small_probabilities() -> None:
    """A cell of 300 x 300 wins with 1.1e-5, which float16 would round by 0.3 %."""
    net = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2)).half()
    nn.init.constant_(net[3].weight, 1.0)
    relevance = found(net, torch.ones(1, 1, 300, 300).half(), "0", WINNING, (1,))
    assert_close(relevance, torch.full((1, 1, 1, 300, 300), 1 / 300**2), rtol=6e-4, atol=0)


def test_reused_layers_and_calls() -> None:
    """A layer that runs twice gets the relevance of both runs together; as the layer asked about, that of one."""
    net = seeded(lambda: Tail(lambda net, x: net.again(net.again(x).relu()).relu())).double()
    net.again = nn.Conv2d(4, 4, 3, padding=1).double()
    images = image(2, dtype=torch.float64)
    twin = seeded(lambda: nn.Sequential(net.conv, net.again, nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()))
    twin[3].load_state_dict(net.again.state_dict())
    twin = nn.Sequential(*twin, nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.head).double()
    assert_close(found(net, images, None, RULES["composite"]), found(twin, images, None, RULES["composite"]))
    seeds = torch.eye(3, dtype=torch.float64)[None, :2].expand(2, -1, -1)
    for call, name in ((0, "1"), (1, "3")):
        layer = replace(find(net, "again"), call=call)
        _, relevance, layout = relevances(net, images, layer, lambda out: (out, seeds), WINNING, contrast=False)
        assert_close(relevance, found(twin, images, name, WINNING))
        assert layout == Layout(Order.CHANNELS_FIRST, (8, 8))


def test_threads_do_not_meet() -> None:
    net, images = roughened(seeded(Residual)), image(2)
    true = [found(net, images, "early", WINNING, (k,)) for k in range(4)]
    results: list[Any] = [None] * 4

    def work(k: int) -> None:
        for _ in range(3):
            results[k] = found(net, images, "early", WINNING, (k,))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result, each in zip(results, true):
        assert torch.equal(result, each)


def test_a_transformer_is_refused_by_its_norm() -> None:
    with pytest.raises(MethodError, match="layer_norm"):
        found(seeded(Vit), image(1, 16, 16), None, LRP_0)
