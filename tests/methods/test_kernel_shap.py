"""KernelSHAP against Shapley values by counting, a game solved by hand, and captum called directly."""

import itertools
import math

import pytest
import torch
from nets import Deep, image, seeded
from test_lime import patchwork, torch_seed
from torch import Tensor, nn
from torch.testing import assert_close

import sightline
from sightline.methods import method
from sightline.methods.superpixels import superpixels

pytest.importorskip("captum", reason="the extra superpixels isn't installed")
pytest.importorskip("skimage", reason="the extra superpixels isn't installed")


@torch.no_grad()
def shapley_values(model: nn.Module, picture: Tensor, labels: Tensor, target: int) -> Tensor:
    """What each superpixel adds, averaged over every order in which they could be shown."""
    players = range(int(labels.max()) + 1)

    def worth(shown: tuple[int, ...]) -> Tensor:
        seen = torch.isin(labels, torch.tensor(shown, dtype=torch.long))
        return model((seen * picture)[None])[0, target]

    values = []
    for player in players:
        others = [each for each in players if each != player]
        total = torch.zeros((), dtype=picture.dtype)
        for size in range(len(others) + 1):
            weight = math.factorial(size) * math.factorial(len(others) - size) / math.factorial(len(players))
            for shown in itertools.combinations(others, size):
                total += weight * (worth((*shown, player)) - worth(shown))
        values.append(total)
    return torch.stack(values)


def test_comes_near_the_shapley_values() -> None:
    """Captum draws which superpixels are shown, so it is near and no more; what it shares out is all there."""
    model, picture = seeded(Deep).double(), 2 * patchwork()
    labels = superpixels(picture[0], 4)
    found = sightline.maps(model, picture, 2, method=method("kernel-shap").set(segments=4, samples=1500))[0]
    true = shapley_values(model, picture[0], labels, 2)
    assert_close(found, true[labels], rtol=0, atol=0.1 * float(true.abs().max()))
    shares = torch.stack([found[labels == cell].mean() for cell in range(4)])
    with torch.no_grad():
        gain = (model(picture) - model(0 * picture))[0, 2]
    assert_close(shares.sum(), gain, rtol=1e-4, atol=0)


class Product(nn.Module):
    """Scores 12 where the upper two corners are both shown, and the lower right one adds 5."""

    def forward(self, images: Tensor) -> Tensor:
        lit = images[:, :, ::15, ::15].abs().sum(1).flatten(1) > 0
        score = 12.0 * (lit[:, 0] & lit[:, 1]) + 5.0 * lit[:, 3]
        return torch.stack([score, -score], 1)


def test_by_hand() -> None:
    """The two that only work together share 12, the third gets nothing, the fourth its 5."""
    found = sightline.maps(Product(), patchwork(), [[0, 1]], method=method("kernel-shap").set(segments=4, samples=2000))
    assert_close(found[0, 0, ::15, ::15], torch.tensor([[6.0, 6], [0, 5]]).double(), rtol=0, atol=0.3)
    assert_close(found[0, 1], -found[0, 0], rtol=0, atol=1e-3)


def test_equals_captum() -> None:
    from captum.attr import KernelShap

    model, pictures, targets = seeded(Deep).double(), image(2, 14, 15, seed=2, dtype=torch.float64), [2, 1]
    few = method("kernel-shap").set(segments=6, samples=60, fill="mean")
    found = sightline.maps(model, pictures, targets, method=few)
    for n, target in enumerate(targets):
        picture = pictures[n : n + 1]
        with torch.random.fork_rng([]):
            torch.manual_seed(torch_seed())
            theirs = KernelShap(lambda images: 100 * model(images)).attribute(
                picture,
                baselines=picture.mean((2, 3), keepdim=True).expand_as(picture),
                target=target,
                feature_mask=superpixels(picture[0], 6)[None, None],
                n_samples=60,
            )
        assert_close(found[n], theirs[0, 0].double() / 100, rtol=1e-3, atol=1e-3 * float(found[n].abs().max()))
