"""What must be equal between methods, targets and nets, asked through `sightline.maps` in float64."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nets import Deep, Disconnected, Pooled, captured, image, seeded
from rows import ROWS, defined
from torch import Tensor, nn
from torch.testing import assert_close

import sightline
from sightline.errors import MethodError
from sightline.targets import class_, contrast, counterfactual
from sightline.types import Kind, Method

SEEDS = st.integers(0, 2**16)
EVERY_CLASS = [[0, 1, 2, 3]] * 2


def pooled(seed: int, *, relu: bool = True) -> tuple[Pooled, Tensor]:
    """A pooled net with a linear head and two images, Z = 6 x 7 positions."""
    return seeded(lambda: Pooled(relu=relu), seed).double(), image(2, 6, 7, seed=seed, dtype=torch.float64)


def maps(model: nn.Module, images: Tensor, target: Any, method: str, layer: Any = "features") -> Tensor:
    return sightline.maps(model, images, target, layer=layer, method=method)


@given(SEEDS)
def test_four_methods_are_one_over_a_pooled_linear_head(seed: int) -> None:
    """CAM / Z, Grad-CAM, HiResCAM and XGrad-CAM are equal where no activation is negative, as after a ReLU."""
    model, images = pooled(seed)
    true = (maps(model, images, EVERY_CLASS, "cam") / 42).relu()
    assert (true > 0).any()
    for method in ("grad-cam", "hires-cam", "xgrad-cam"):
        assert_close(maps(model, images, EVERY_CLASS, method).relu(), true)


@given(SEEDS)
def test_signed_features_keep_the_identity_with_its_signs(seed: int) -> None:
    """CAM / Z is HiResCAM with its negative values; Grad-CAM and XGrad-CAM are its positive part.

    XGrad-CAM only because no channel sums to exactly 0, which would lose its weight.
    """
    model, images = pooled(seed, relu=False)
    signed = maps(model, images, EVERY_CLASS, "cam") / 42
    assert (signed < 0).any()
    assert_close(maps(model, images, EVERY_CLASS, "hires-cam"), signed)
    assert_close(maps(model, images, EVERY_CLASS, "grad-cam"), signed.relu())
    assert_close(maps(model, images, EVERY_CLASS, "xgrad-cam"), signed.relu(), rtol=1e-6, atol=1e-9)


@given(SEEDS)
def test_cam_is_the_linear_layer_at_each_position(seed: int) -> None:
    model, images = pooled(seed)
    features = model.features(model.conv(images)).detach()
    true = torch.einsum("kc,nchw->nkhw", model.head.weight.detach(), features)
    assert_close(maps(model, images, EVERY_CLASS, "cam"), true)


def test_cam_is_refused_where_the_head_is_not_linear() -> None:
    """A class has no weights of its own there, and a map under this name would be another method's."""
    with pytest.raises(
        MethodError, match="cam needs a linear head after layer 'features', and there is Tanh on the way"
    ):
        sightline.maps(seeded(Deep), image(), 1, layer="features", method="cam")


@given(SEEDS)
def test_a_signed_map_sums_to_the_logit_less_its_bias(seed: int) -> None:
    for model, images in (pooled(seed), pooled(seed, relu=False)):
        evidence = (model(images) - model.head.bias).detach()
        assert_close(maps(model, images, EVERY_CLASS, "hires-cam").sum((-2, -1)), evidence)
        assert_close(maps(model, images, EVERY_CLASS, "cam").sum((-2, -1)) / 42, evidence)


@pytest.mark.parametrize("net", [Pooled, Deep])
@given(seed=SEEDS)
def test_targets_that_are_linear_in_the_logits(net: type[nn.Module], seed: int) -> None:
    """Evidence against is the negated map, why-this-and-not-that the difference of two: of any head at all."""
    model, images = seeded(net, seed).double(), image(2, 6, 7, seed=seed, dtype=torch.float64)
    this, that = maps(model, images, 1, "hires-cam"), maps(model, images, 3, "hires-cam")
    assert_close(maps(model, images, counterfactual(class_(1)), "hires-cam"), -this)
    assert_close(maps(model, images, contrast(class_(1), class_(3)), "hires-cam"), this - that)
    assert_close(maps(model, images, lambda output: 2 * output[:, 1] - 7, "hires-cam"), 2 * this)


@given(SEEDS)
def test_a_counterfactual_weighs_channels_by_the_negated_gradient(seed: int) -> None:
    """Grad-CAM's paper, eq. 3: the map itself isn't the negated one, for both are cut at 0."""
    model, images = seeded(Deep, seed).double(), image(2, 6, 7, seed=seed, dtype=torch.float64)
    activations, gradients = captured(model, model.features, images, lambda output: output[:, 1])
    true = -torch.einsum("nc,nchw->nhw", gradients.mean((2, 3)), activations)
    assert_close(maps(model, images, counterfactual(class_(1)), "grad-cam"), true.relu())


OF_THE_SCORE = (
    "ablation-cam",
    "full-grad",
    "lrp-epsilon",
    "lrp-z-plus",
    "lrp-gamma",
    "lrp-epsilon-plus-flat",
    "attn-lrp",
)
UNSHIFTED = [row for row in ROWS if row.name not in OF_THE_SCORE and defined(row, "pooled")]


@pytest.mark.parametrize("row", UNSHIFTED, ids=[row.name for row in UNSHIFTED])
def test_a_constant_added_to_all_logits_changes_nothing(row: Method) -> None:
    """But for methods that share out the score itself."""

    class Shifted(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, images: Tensor) -> Tensor:
            return self.inner(images) + 1000

    model, images = pooled(3)
    found = sightline.maps(Shifted(model), images, [2, 1], layer="inner.features", method=row)
    exact = row.kind is not Kind.ASKING
    true = sightline.maps(model, images, [2, 1], layer="features", method=row)
    assert_close(found, true, rtol=0 if exact else 1e-3, atol=0 if exact else 1e-7)


@pytest.mark.parametrize("layer", ["early", "late"])
@pytest.mark.parametrize("grid", [(2, 2), (2, 3)])
def test_difull(grid: tuple[int, int], layer: str) -> None:
    """Over 20 random nets LayerCAM and HiResCAM have nothing outside the one cell that a class sees.

    Grad-CAM and XGrad-CAM carry one cell's weights into all, and leave about a cell's share inside.
    Empty maps have no share and are counted apart.
    """
    rows, columns = grid
    inside: dict[str, list[Tensor]] = {}
    empty: dict[str, int] = {}
    for seed in range(20):
        model = seeded(lambda: Disconnected(rows, columns), seed)
        images = image(1, 4 * rows, 4 * columns, seed=seed)
        targets = [list(range(rows * columns))]
        for method in ("layer-cam", "hires-cam", "grad-cam", "xgrad-cam"):
            found = maps(model, images, targets, method, layer=layer)[0]
            cells = found.clone().unflatten(1, (rows, 4)).unflatten(3, (columns, 4))  # (class, row, y, column, x)
            for i in range(rows * columns):
                cells[i, i // columns, :, i % columns] = 0
            if method in ("layer-cam", "hires-cam"):
                assert not cells.any()
            mass, hidden = found.relu().sum((1, 2)), cells.relu().sum((1, 2, 3, 4))
            inside.setdefault(method, []).append((1 - hidden / mass)[mass > 0])
            empty[method] = empty.get(method, 0) + int((mass == 0).sum())
    share = {method: float(torch.cat(found).mean()) for method, found in inside.items()}
    assert share["layer-cam"] == pytest.approx(1, abs=1e-6)
    assert share["hires-cam"] == pytest.approx(1, abs=1e-6)
    assert share["grad-cam"] == pytest.approx(1 / (rows * columns), rel=0.3)
    assert share["xgrad-cam"] == pytest.approx(1 / (rows * columns), rel=0.3)
    assert empty["layer-cam"] <= empty["hires-cam"] < 20 * rows * columns / 4


def test_cam_is_refused_on_a_linear_head_that_does_not_pool() -> None:
    flat = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Flatten(), nn.Linear(5 * 64, 4))
    with pytest.raises(MethodError, match="global average pooling"):
        sightline.maps(flat, torch.randn(2, 3, 8, 8), 1, layer="0", method="cam")


def test_cam_is_refused_where_a_where_stands_for_a_relu() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 5, 3), nn.Linear(5, 4)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            pooled = self.conv(image).mean((2, 3))
            return self.head(torch.where(pooled > 0, pooled, 0.0))

    with pytest.raises(MethodError, match="Where"):
        sightline.maps(Gated(), torch.randn(2, 3, 8, 8), 1, layer="conv", method="cam")


def test_cam_answers_what_speaks_against_and_why_not_the_other() -> None:
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))
    image = torch.randn(1, 3, 8, 8)
    model = sightline.wrap(net, preprocess=sightline.Preprocess(size=(8, 8), fit="squash"), labels=list("abcd"))
    picture = model.preprocess.shown(image[0])
    asked = ["a", "b", "not:a", "a-vs:b"]
    one, other, against, versus = sightline.explain(model, picture, asked, layer="0", method="cam").maps
    assert_close(against, -one)
    assert_close(versus, one - other)
