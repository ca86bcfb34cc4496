"""LRP-epsilon against the paper's sums written as loops, a case solved by hand, its identity, and zennit."""

import pytest
import torch
from nets import Pooled, Residual, image, roughened, seeded
from test_propagation import EPSILON, TINY, branching, branching_by_loops, by_zennit, exactly_merged, narrow_vgg
from torch import nn
from torch.testing import assert_close

import sightline
from sightline.errors import MethodError
from sightline.types import Sharing


@pytest.mark.parametrize("epsilon", [0.0, 0.25])
def test_equals_the_paper(epsilon: float) -> None:
    net, images = branching(torch.tanh), image(2, 4, 6, dtype=torch.float64)
    sharing = Sharing(EPSILON, EPSILON, EPSILON, epsilon=epsilon)
    true = [branching_by_loops(net, x[None], k, sharing)["image"][0].sum(0) for x, k in zip(images, (2, 0))]
    method = sightline.methods.method("lrp-epsilon").set(epsilon=epsilon)
    assert_close(sightline.maps(net, images, [2, 0], method=method), torch.stack(true), rtol=1e-8, atol=1e-12)


def by_hand_net() -> nn.Module:
    """Pixels a, b, c to units a - b + 1 and b + 2 c, after a ReLU to the score 2 u - 3 v + 4."""
    net = nn.Sequential(nn.Conv2d(1, 2, (1, 3)), nn.ReLU(), nn.Flatten(), nn.Linear(2, 1))
    with torch.no_grad():
        net[0].weight[:, 0, 0] = torch.tensor([[1.0, -1.0, 0.0], [0.0, 1.0, 2.0]])
        net[0].bias[:] = torch.tensor([1.0, 0.0])
        net[3].weight[:], net[3].bias[:] = torch.tensor([[2.0, -3.0]]), 4.0
    return net


def test_by_hand() -> None:
    """a, b, c = 5, 2, 0.5: u = 4 and v = 3, worth 8 and -9 of the score of 3.

    Of u's worth a gets 5 / 4 and b -2 / 4, and of v's b 2 / 3 and c 1 / 3. With c = 1 the score is 0.
    """
    method = sightline.methods.method("lrp-epsilon").set(epsilon=0)
    found = sightline.maps(by_hand_net(), torch.tensor([[[[5.0, 2.0, 0.5]]]]), 0, method=method)
    assert_close(found, torch.tensor([[[10.0, -10.0, -3.0]]]))
    found = sightline.maps(by_hand_net(), torch.tensor([[[[5.0, 2.0, 1.0]]]]), 0, method=method)
    assert not found.any()  # a score of 0 has nothing to share
    found = sightline.maps(by_hand_net(), torch.tensor([[[[5.0, 2.0, 0.5]]]]), 0, method=method.set(epsilon=1.0))
    of_u, of_v = 8 * 3 / 4, -9 * 3 / 4
    assert_close(found, torch.tensor([[[of_u * 5 / 5, -of_u * 2 / 5 + of_v * 2 / 4, of_v * 1 / 4]]]))


def test_is_input_times_gradient_in_a_net_of_relus_and_maxima() -> None:
    for net in (seeded(Pooled).double(), roughened(seeded(Residual)).double()):
        images = image(2, 8, 6, dtype=torch.float64)
        method = sightline.methods.method("lrp-epsilon").set(epsilon=0)
        found = sightline.maps(net, images, [[0, 3]] * 2, method=method)
        assert_close(found, sightline.maps(net, images, [[0, 3]] * 2, method="input-x-gradient"))


def test_equals_zennit() -> None:
    composites = pytest.importorskip("zennit.composites", reason="zennit isn't installed")
    rules, kinds = pytest.importorskip("zennit.rules"), pytest.importorskip("zennit.types")
    merging = pytest.importorskip("zennit.torchvision")
    net = exactly_merged(roughened(seeded(narrow_vgg))).double()
    images = image(2, 64, 64, dtype=torch.float64)
    layers = [*composites.layer_map_base(TINY), (kinds.Linear, rules.Epsilon(0.1))]
    theirs = composites.LayerMapComposite(layers, canonizers=[merging.VGGCanonizer()])
    found = sightline.maps(net, images, 3, method=sightline.methods.method("lrp-epsilon").set(epsilon=0.1))
    true = by_zennit(net, images, 3, theirs).sum(1)
    assert_close(found, true, rtol=1e-5, atol=1e-5 * float(true.abs().max()))


@pytest.mark.parametrize("epsilon", [-1.0, float("inf"), float("nan")])
def test_an_epsilon_that_does_not_stabilise_is_refused(epsilon: float) -> None:
    for name in ("lrp-epsilon", "lrp-gamma", "lrp-epsilon-plus-flat"):
        method = sightline.methods.method(name).set(epsilon=epsilon)
        with pytest.raises(MethodError, match=f"{name} takes an epsilon of 0 or more, got epsilon="):
            sightline.maps(seeded(Pooled), image(), 0, method=method)
