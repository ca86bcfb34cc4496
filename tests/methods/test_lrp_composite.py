"""EpsilonPlusFlat against its sums written as loops, a case solved by hand, and zennit."""

from dataclasses import replace

import pytest
import torch
from nets import image, roughened, seeded
from test_lrp_epsilon import by_hand_net
from test_propagation import RULES, TINY, branching, branching_by_loops, by_zennit, exactly_merged, narrow_vgg
from torch import nn
from torch.testing import assert_close

import sightline

COMPOSITE = "lrp-epsilon-plus-flat"


def test_equals_the_definition() -> None:
    net, images = branching(torch.tanh), image(2, 4, 6, dtype=torch.float64)
    sharing = replace(RULES["composite"], epsilon=0.01)
    true = [branching_by_loops(net, x[None], k, sharing)["image"][0].sum(0) for x, k in zip(images, (2, 0))]
    method = sightline.methods.method(COMPOSITE).set(epsilon=0.01)
    assert_close(sightline.maps(net, images, [2, 0], method=method), torch.stack(true), rtol=1e-9, atol=1e-12)


def test_by_hand() -> None:
    """a, b, c = 5, 2, 0.5: u is worth 8, v -9, and each shares it equally among three pixels."""
    images = torch.tensor([[[[5.0, 2.0, 0.5]]]])
    found = sightline.maps(by_hand_net(), images, 0, method=sightline.methods.method(COMPOSITE).set(epsilon=0))
    assert_close(found, torch.tensor([[[-1 / 3, -1 / 3, -1 / 3]]]))


def test_pixels_are_read_alike_however_they_are_normalised_and_padding_has_no_share() -> None:
    """The first layer's shares don't depend on the pixels; nor does what a model does to them before it."""

    class Normalising(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).double().view(3, 1, 1))
            self.net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 48, 3))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.net((images - self.mean) / 0.25)

    net, images = seeded(Normalising).double(), image(2, 8, 6, dtype=torch.float64)
    found = sightline.maps(net, images, 1, method=COMPOSITE)
    assert_close(found, sightline.maps(net.net, (images - net.mean) / 0.25, 1, method=COMPOSITE))
    scores, bias = net(images).detach()[:, 1], net.net[3].bias.detach()[1]
    assert_close(found.sum((1, 2)), scores - bias, rtol=1e-3, atol=0)  # the rest is epsilon's


def test_equals_zennit() -> None:
    """Whose z+ is told to leave the biases out, which it gives a share where they are positive."""
    composites = pytest.importorskip("zennit.composites", reason="zennit isn't installed")
    rules, kinds = pytest.importorskip("zennit.rules"), pytest.importorskip("zennit.types")
    merging = pytest.importorskip("zennit.torchvision")
    net = exactly_merged(roughened(seeded(narrow_vgg))).double()
    images = image(2, 64, 64, dtype=torch.float64)
    layers = [
        *composites.layer_map_base(TINY),
        (kinds.Convolution, rules.ZPlus(TINY, zero_params="bias")), (nn.Linear, rules.Epsilon(TINY)),
    ]  # fmt: skip
    theirs = composites.SpecialFirstLayerMapComposite(
        layers, [(kinds.Linear, rules.Flat(TINY))], canonizers=[merging.VGGCanonizer()]
    )
    true = by_zennit(net, images, 3, theirs).sum(1)
    found = sightline.maps(net, images, 3, method=sightline.methods.method(COMPOSITE).set(epsilon=TINY))
    assert_close(found, true, rtol=1e-5, atol=1e-5 * float(true.abs().max()))
