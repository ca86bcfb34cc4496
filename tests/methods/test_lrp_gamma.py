"""LRP-gamma against its sums written as loops, a case solved by hand, its limits, and zennit."""

import pytest
import torch
from nets import Pooled, image, roughened, seeded
from test_lrp_epsilon import by_hand_net
from test_propagation import GAMMA, TINY, branching, branching_by_loops, by_zennit, exactly_merged, narrow_vgg
from torch.testing import assert_close

import sightline
from sightline.errors import MethodError
from sightline.types import Sharing


def test_equals_the_definition() -> None:
    net, images = branching(torch.tanh), image(2, 4, 6, dtype=torch.float64)
    sharing = Sharing(GAMMA, GAMMA, GAMMA, gamma=0.5, epsilon=0.01)
    true = [branching_by_loops(net, x[None], k, sharing)["image"][0].sum(0) for x, k in zip(images, (2, 0))]
    method = sightline.methods.method("lrp-gamma").set(gamma=0.5, epsilon=0.01)
    assert_close(sightline.maps(net, images, [2, 0], method=method), torch.stack(true), rtol=1e-9, atol=1e-12)


def test_by_hand() -> None:
    """a, b, c = 5, 2, 0.5 and gamma 1: the score 3 of 8 - 9 + 4 is shared as 16 - 9 + 8 = 15.

    u gets 3 * 16 / 15 and shares it as 10 - 2 + 2 = 10; v gets 3 * -9 / 15, and its parts, 4 and 2, are all doubled.
    """
    of_u, of_v = 3 * 16 / 15, -3 * 9 / 15
    found = sightline.maps(
        by_hand_net(),
        torch.tensor([[[[5.0, 2.0, 0.5]]]]),
        0,
        method=sightline.methods.method("lrp-gamma").set(gamma=1.0),
    )
    assert_close(found, torch.tensor([[[of_u, -0.2 * of_u + 4 / 6 * of_v, 2 / 6 * of_v]]]))


def test_a_negative_sum_favours_what_is_negative() -> None:
    """The score of -2, of parts 2 and -4 and gamma 1, is shared as 2 and -8 of -6."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        net[1].weight[:] = torch.tensor([[1.0, -1.0]])
    method = sightline.methods.method("lrp-gamma").set(gamma=1.0)
    found = sightline.maps(net, torch.tensor([[[[2.0, 4.0]]]]), 0, method=method)
    assert_close(found, -2 * torch.tensor([[[2 / -6, -8 / -6]]]))


def test_between_the_epsilon_and_the_z_plus_rule() -> None:
    net, images = seeded(Pooled).double(), image(2, dtype=torch.float64)
    net.head.bias.data.zero_(), net.conv.bias.data.zero_()
    best = net(images).argmax(1).tolist()
    gamma = sightline.methods.method("lrp-gamma").set(epsilon=0)
    lowest = sightline.maps(net, images, best, method=gamma.set(gamma=0))
    assert_close(lowest, sightline.maps(net, images, best, method="lrp-epsilon:epsilon=0"))
    highest = sightline.maps(net, images, best, method=gamma.set(gamma=1e12))
    assert_close(highest, sightline.maps(net, images, best, method="lrp-z-plus"), rtol=1e-6, atol=1e-9)


def test_equals_zennit() -> None:
    composites = pytest.importorskip("zennit.composites", reason="zennit isn't installed")
    rules, kinds = pytest.importorskip("zennit.rules"), pytest.importorskip("zennit.types")
    merging = pytest.importorskip("zennit.torchvision")
    net = exactly_merged(roughened(seeded(narrow_vgg))).double()
    images = image(2, 64, 64, dtype=torch.float64)
    layers = [*composites.layer_map_base(TINY), (kinds.Linear, rules.Gamma(0.25, TINY))]
    theirs = composites.LayerMapComposite(layers, canonizers=[merging.VGGCanonizer()])
    true = by_zennit(net, images, 3, theirs).sum(1)
    found = sightline.maps(net, images, 3, method=sightline.methods.method("lrp-gamma").set(epsilon=TINY))
    assert_close(found, true, rtol=1e-5, atol=1e-5 * float(true.abs().max()))


@pytest.mark.parametrize("gamma", [-0.5, float("inf"), float("nan")])
def test_a_gamma_that_favours_nothing_is_refused(gamma: float) -> None:
    with pytest.raises(MethodError, match="gamma of 0 or more, got gamma="):
        sightline.maps(seeded(Pooled), image(), 0, method=sightline.methods.method("lrp-gamma").set(gamma=gamma))
