"""Excitation backprop against the paper's sums written as loops, cases solved by hand, and zennit."""

import pytest
import torch
from nets import Pooled, Residual, image, roughened, seeded
from test_propagation import TINY, WINNING, branching, branching_by_loops, narrow_vgg, without_biases
from torch import nn
from torch.testing import assert_close

import sightline
from sightline.errors import MethodError


@pytest.mark.parametrize("layer", ["norm", "conv"])
def test_equals_the_paper(layer: str) -> None:
    net, images, targets = branching(torch.relu), image(2, 4, 6, dtype=torch.float64), [[0, 2], [1, 0]]
    found = sightline.maps(net, images, targets, layer=layer, method="excitation-backprop")
    for n, row in enumerate(targets):
        for k, target in enumerate(row):
            true = branching_by_loops(net, images[n : n + 1], target, WINNING)[layer][0].sum(0)
            assert_close(found[n, k], true, rtol=1e-9, atol=1e-12)


def two_cells() -> nn.Module:
    """Features: the image's channels. Two classes of weights 1, 2, -1 and -1, 0, 3 on their sums."""
    net = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        net[3].weight[:], net[3].bias[:] = torch.tensor([[1.0, 2.0, -1.0], [-1.0, 0.0, 3.0]]), 7.0
    return net


PICTURE = torch.tensor([[[1.0, 3.0]], [[2.0, 0.0]], [[5.0, 5.0]]])[None]


def test_by_hand() -> None:
    """Channels of means 2, 1 and 5 win by 2 x 1 and 1 x 2 of 4; the first gives its cells 1/4 and 3/4 of its half."""
    found = sightline.maps(two_cells(), PICTURE, [[0, 1]], layer="0", method="excitation-backprop")
    assert_close(found, torch.tensor([[[[1 / 8 + 1 / 2, 3 / 8]], [[1 / 2, 1 / 2]]]]))


def test_against_a_class_speaks_what_its_dual_wins() -> None:
    """The dual of the first class has weights -1, -2 and 1: all goes to the third channel."""
    score = sightline.targets.counterfactual(sightline.targets.class_(0))
    found = sightline.maps(two_cells(), PICTURE, score, layer="0", method="excitation-backprop")
    assert_close(found, torch.tensor([[[1 / 2, 1 / 2]]]))


def test_one_class_and_not_the_other_is_what_it_wins_more() -> None:
    score = sightline.targets.contrast(sightline.targets.class_(0), sightline.targets.class_(1))
    found = sightline.maps(two_cells(), PICTURE, score, layer="0", method="excitation-backprop")
    assert_close(found, torch.tensor([[[1 / 8, 0]]]))


def test_sums_to_one() -> None:
    net, images = roughened(seeded(Residual)), image(3, 8, 6)
    for layer in ("early", "late"):
        found = sightline.maps(net, images, [[0, 1, 2, 3]] * 3, layer=layer, method="excitation-backprop")
        assert_close(found.sum((2, 3)), torch.ones(3, 4))


def test_nothing_wins_by_weights_that_are_all_negative() -> None:
    net = seeded(Pooled)
    nn.init.constant_(net.head.weight, -1)
    assert not sightline.maps(net, image(), 0, layer="features", method="excitation-backprop").any()


def test_equals_zennit() -> None:
    composites = pytest.importorskip("zennit.composites", reason="zennit isn't installed")
    net, images = without_biases(seeded(lambda: narrow_vgg(norm=False))).double(), image(2, 64, 64).double()
    layer = net[0][2]
    kept: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: kept.append(output) or None)
    with composites.ExcitationBackprop(TINY).context(net) as modified:
        scores = modified(images.clone().requires_grad_())
        start = nn.functional.one_hot(torch.tensor([1, 1]), 5).double()
        (true,) = torch.autograd.grad(scores, kept[0], start)
    handle.remove()
    found = sightline.maps(net, images, 1, layer=layer, method="excitation-backprop")
    assert_close(found, true.sum(1), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("activation", [nn.Tanh, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Hardswish, nn.ELU])
def test_activations_of_either_sign_are_refused_by_name(activation: type[nn.Module]) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    words = activation.__name__.lower().replace("leakyrelu", "leaky_relu")
    with pytest.raises(MethodError, match=f"no negative values, unlike torch.*{words}"):
        sightline.maps(net, image(), 0, layer="0", method="excitation-backprop")


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Softplus, nn.Hardsigmoid])
def test_activations_that_are_never_negative_are_not(activation: type[nn.Module]) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert sightline.maps(net, image(), 0, layer="0", method="excitation-backprop").any()
