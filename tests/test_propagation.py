"""Relevance propagation against sums written as loops, zennit and captum, and what it can't follow."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from nets import Residual, Vit, image, roughened, seeded
from torch import Tensor, nn
from torch.testing import assert_close
from torchvision import models

import sightline
from sightline.engine.propagation import relevances
from sightline.errors import CutOff, LayerNotReached, MethodError
from sightline.layers import Layout, find
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
    model: nn.Module, images: Tensor, layer: str | None, sharing: Sharing, seeds: Any = (0, 1), *, contrast: bool = False
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

    def __init__(self, channels: int = 4, classes: int = 3) -> None:
        super().__init__()
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
        return self.last(torch.tanh(self.first(features)))


def branching() -> Branching:
    """Its batch norms have scales of either sign."""
    net = roughened(seeded(Branching)).double()
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
        hidden = net.first(features)
        scores = net.last(hidden.tanh())
        start = torch.zeros_like(scores)
        start[0, target] = 1 if sharing.probability else scores[0, target]
        linear = sharing.linear
        relevance = share(linear, net.first, features, share(linear, net.last, hidden.tanh(), start))
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
    net, images = branching(), image(1, 4, 6, dtype=torch.float64)
    net.first = nn.Sequential(net.first, nn.ReLU())  # in the place of tanh's negative values
    net.forward = lambda x: Branching.forward(net, x)  # type: ignore[method-assign]
    with pytest.raises(MethodError, match=r"no negative values, unlike torch\.tanh"):
        found(net, images, "norm", WINNING)


# What is conserved.

LAYERS: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "vgg11_bn": (lambda: models.vgg11_bn(num_classes=5), ["features.3", "features.11", "features.28"]),
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


@pytest.mark.parametrize("name", ["vgg11_bn", "resnet18", "squeezenet", "densenet121"])
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
