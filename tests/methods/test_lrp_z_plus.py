"""LRP's z+ rule against its sums written as loops, a case solved by hand, and zennit."""

import pytest
import torch
from nets import Residual, image, roughened, seeded
from test_lrp_epsilon import by_hand_net
from test_propagation import PLUS, TINY, branching, branching_by_loops, by_zennit, exactly_merged, narrow_vgg
from torch.testing import assert_close

import sightline
from sightline.types import Sharing


def test_equals_the_paper() -> None:
    net, images = branching(torch.tanh), image(2, 4, 6, dtype=torch.float64)
    sharing = Sharing(PLUS, PLUS, PLUS, sums=PLUS)
    true = [branching_by_loops(net, x[None], k, sharing)["image"][0].sum(0) for x, k in zip(images, (2, 0))]
    assert_close(sightline.maps(net, images, [2, 0], method="lrp-z-plus"), torch.stack(true), rtol=1e-9, atol=1e-12)


def test_by_hand() -> None:
    """a, b, c = 5, 2, 0.5: all of the score of 3 goes to u = a - b + 1, and there to a.

    With b = -2 it is u = 8, v = 0, and the score 20: a gets 5 parts of 7, b 2, for its weight is negative too.
    """
    found = sightline.maps(by_hand_net(), torch.tensor([[[[5.0, 2.0, 0.5]]]]), 0, method="lrp-z-plus")
    assert_close(found, torch.tensor([[[3.0, 0.0, 0.0]]]))
    found = sightline.maps(by_hand_net(), torch.tensor([[[[5.0, -2.0, 0.5]]]]), 0, method="lrp-z-plus")
    assert_close(found, 20 * torch.tensor([[[5 / 7, 2 / 7, 0.0]]]))


def test_has_the_scores_sign_and_sum() -> None:
    net, images = roughened(seeded(Residual)).double(), image(4, 8, 6, dtype=torch.float64)
    scores = net(images).detach()
    found = sightline.maps(net, images, [[0, 1, 2, 3]] * 4, method="lrp-z-plus")
    assert (scores < 0).any()
    assert (scores > 0).any()
    assert_close(found.sum((2, 3)), scores)
    assert (found * scores[:, :, None, None] >= 0).all()


def test_equals_zennit() -> None:
    """Told to leave the biases out, which it gives a share where they are positive."""
    composites = pytest.importorskip("zennit.composites", reason="zennit isn't installed")
    rules, kinds = pytest.importorskip("zennit.rules"), pytest.importorskip("zennit.types")
    merging = pytest.importorskip("zennit.torchvision")
    net = exactly_merged(roughened(seeded(narrow_vgg))).double()
    images = image(2, 64, 64, dtype=torch.float64)
    layers = [*composites.layer_map_base(TINY), (kinds.Linear, rules.ZPlus(TINY, zero_params="bias"))]
    theirs = composites.LayerMapComposite(layers, canonizers=[merging.VGGCanonizer()])
    true = by_zennit(net, images, 3, theirs).sum(1)
    assert_close(
        sightline.maps(net, images, 3, method="lrp-z-plus"), true, rtol=1e-5, atol=1e-5 * float(true.abs().max())
    )
