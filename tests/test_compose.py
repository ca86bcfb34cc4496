"""Composed methods: what they average, multiply and say of themselves, each done by hand from the inner one's maps."""

import inspect

import pytest
import torch
from nets import Disconnected, Pooled, captured, grad_cam_of, image, relative_error, seeded
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.testing import assert_close

import sightline
from sightline.ask import ask
from sightline.errors import MethodError
from sightline.layers import find
from sightline.methods import method
from sightline.methods.compose import by_largest, over_flips, over_layers, over_noise, product, together
from sightline.targets import Labels, question
from sightline.types import Kind, Method, Needs

GRAD_CAM, SALIENCY, HIRES = method("grad-cam"), method("saliency"), method("hires-cam")


class Stages(nn.Module):
    """A net of three resolutions: the image's, a half and a quarter of it."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Conv2d(3, 4, 3, padding=1)
        self.middle = nn.Conv2d(4, 5, 3, padding=1, stride=2)
        self.late = nn.Conv2d(5, 6, 3, padding=1, stride=2)
        self.head = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        values = self.late(self.middle(self.early(images).relu()).relu())
        return self.head(values.tanh().mean((2, 3)))


def net() -> tuple[nn.Module, Tensor]:
    return seeded(Stages).double(), image(2, 12, 8, dtype=torch.float64)


def at(layer: str, model: nn.Module, images: Tensor, targets: list[int]) -> Tensor:
    """Grad-CAM maps (N, h, w) without the engine."""
    rows = list(range(len(images)))
    return grad_cam_of(*captured(model, model.get_submodule(layer), images, lambda out: out[rows, targets]))


# What they do.


def test_over_noise_is_the_mean_of_maps_at_noisy_images() -> None:
    model, images = net()
    generator = torch.Generator().manual_seed(5)
    spread = 0.3 * (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))[:, None, None, None]
    noise = [torch.randn(3, 12, 8, generator=generator).double() for _ in range(4)]
    true = sum(at("late", model, images + spread * each, [2, 3]) for each in noise) / 4
    found = sightline.maps(
        model, images, [2, 3], layer="late", method=over_noise(GRAD_CAM, samples=4, noise=0.3), seed=5
    )
    assert_close(found, true)
    assert_close(found, sightline.maps(
        model, images, [2, 3], layer="late", method=over_noise(GRAD_CAM).set(samples=4, noise=0.3), seed=5
    ))  # fmt: skip


def test_over_flips_flips_back() -> None:
    model, images = net()
    true = (at("late", model, images, [2, 3]) + at("late", model, images.flip(3), [2, 3]).flip(2)) / 2
    assert_close(sightline.maps(model, images, [2, 3], layer="late", method=over_flips(GRAD_CAM)), true)


def test_over_scales_resizes_to_the_first() -> None:
    model, images = net()
    true = torch.zeros(2, 3, 2, dtype=torch.float64)
    for scale in (1, 2, 0.75):
        size = [round(12 * scale), round(8 * scale)]
        scaled = interpolate(images, size, mode="bilinear", antialias=True) if scale != 1 else images
        for flipped in (False, True):
            maps = at("late", model, scaled.flip(3) if flipped else scaled, [2, 3])
            maps = maps.flip(2) if flipped else maps
            true += interpolate(maps[:, None], (3, 2), mode="bilinear")[:, 0] / 6
    found = sightline.maps(model, images, [2, 3], layer="late", method=over_flips(GRAD_CAM, scales=(1, 2, 0.75)))
    assert_close(found, true)


@pytest.mark.parametrize("fuse", ["mean", "max", "product"])
def test_over_layers_fuses_maps_of_every_resolution_by_their_largest(fuse: str) -> None:
    model, images = net()
    maps = [at(layer, model, images, [2, 3]) for layer in ("early", "middle", "late")]
    assert all(each.flatten(1).any(1).all() for each in maps)
    scaled = [each / each.amax((1, 2), keepdim=True) for each in maps]
    fine = torch.stack([interpolate(each[:, None], (12, 8), mode="bilinear")[:, 0] for each in scaled])
    true = {"mean": fine.mean(0), "max": fine.amax(0), "product": fine[0] * fine[1] * fine[2]}[fuse]
    found = sightline.maps(model, images, [2, 3], layer="late", method=over_layers(GRAD_CAM, fuse=fuse))
    assert_close(found, true)


def test_over_layers_ends_at_the_layer_asked_about() -> None:
    model, images = net()
    found = sightline.maps(model, images, [2, 3], layer="early", method=over_layers(GRAD_CAM))
    early = at("early", model, images, [2, 3])
    assert_close(found, early / early.amax((1, 2), keepdim=True))


def test_product_multiplies_at_the_resolution_of_the_first() -> None:
    model, images = net()
    fine = sightline.maps(model, images, [2, 3], method="saliency")
    coarse = at("late", model, images, [2, 3])
    found = sightline.maps(model, images, [2, 3], layer="late", method=product(SALIENCY, GRAD_CAM))
    assert_close(found, fine * interpolate(coarse[:, None], (12, 8), mode="bilinear")[:, 0])
    back = sightline.maps(model, images, [2, 3], layer="late", method=product(GRAD_CAM, SALIENCY))
    assert_close(back, coarse * interpolate(fine[:, None], (3, 2), mode="bilinear")[:, 0])


def test_guided_grad_cam_is_a_product() -> None:
    model, images = seeded(Pooled), image(2)
    composed = product(method("guided-backprop"), GRAD_CAM)
    found, row = (sightline.maps(model, images, 1, layer="features", method=m) for m in (composed, "guided-grad-cam"))
    assert_close(found, row)


def test_smooth_grad_of_a_single_sign_is_saliency_over_noise() -> None:
    """The mean's size and the mean size differ, but for one sample."""
    model, images = seeded(Stages), image(2)
    one, many = (sightline.maps(model, images, 1, method=over_noise(SALIENCY, samples=n), seed=3) for n in (1, 9))
    row = method("smooth-grad")
    assert_close(one, sightline.maps(model, images, 1, method=row.set(samples=1), seed=3))
    assert (many >= sightline.maps(model, images, 1, method=row.set(samples=9), seed=3) - 1e-6).all()


# Composed again: what is asked inside is asked about the image there.


def test_over_noise_of_a_product_takes_both_maps_of_the_noisy_image() -> None:
    model, images = net()
    asked = over_noise(product(SALIENCY, GRAD_CAM), samples=3)
    found = sightline.maps(model, images, 1, layer="late", method=asked, seed=2)
    generator = torch.Generator().manual_seed(2)
    spread = 0.15 * (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))[:, None, None, None]
    true = torch.zeros_like(found)
    for _ in range(3):
        noisy = images + spread * torch.randn(3, 12, 8, generator=generator).double()
        true += sightline.maps(model, noisy, 1, layer="late", method=product(SALIENCY, GRAD_CAM)) / 3
    assert_close(found, true)


def test_over_flips_of_over_layers() -> None:
    model, images = net()
    fused = over_layers(GRAD_CAM, fuse="max")
    both = [sightline.maps(model, each, 1, layer="late", method=fused) for each in (images, images.flip(3))]
    found = sightline.maps(model, images, 1, layer="late", method=over_flips(fused))
    assert_close(found, (both[0] + both[1].flip(2)) / 2)


def test_over_flips_of_a_seeded_method_repeats_and_gives_it_the_same_noise_both_ways() -> None:
    model, images = net()
    smooth = method("smooth-grad").set(samples=3)
    both = [sightline.maps(model, each, 1, method=smooth, seed=4) for each in (images, images.flip(3))]
    found = sightline.maps(model, images, 1, method=over_flips(smooth), seed=4)
    assert_close(found, (both[0] + both[1].flip(2)) / 2)
    assert not torch.equal(found, sightline.maps(model, images, 1, method=over_flips(smooth), seed=5))


@pytest.mark.parametrize("composed", [
    over_noise(GRAD_CAM, samples=2), over_flips(GRAD_CAM, scales=(1, 0.5)), over_layers(GRAD_CAM, fuse="product"),
    product(SALIENCY, GRAD_CAM), over_noise(over_flips(over_layers(HIRES)), samples=2),
], ids=lambda m: m.name)  # fmt: skip
def test_batches_and_several_targets_are_each_alone(composed: Method) -> None:
    model, images = net()
    targets = [[2, 3], [1, 3]]
    found = sightline.maps(model, images, targets, layer="late", method=composed)
    assert found.any()
    for n in range(2):
        for k in range(2):
            alone = sightline.maps(model, images[n : n + 1], targets[n][k], layer="late", method=composed)
            assert_close(found[n : n + 1, k], alone)


def test_what_a_composed_method_sees_stays_where_it_was() -> None:
    """DiFull: LayerCAM of class i lights cell i only, also over layers and noise; over flips the mirror cell would."""
    model, images = seeded(Disconnected), image(2, 8, 12)
    layer_cam = method("layer-cam")
    for composed in (
        over_noise(layer_cam, samples=3),
        over_layers(layer_cam),
        over_noise(over_layers(layer_cam), samples=2),
    ):
        found = sightline.maps(model, images, 1, layer="late", method=composed)
        assert found[..., :4, 6:].any()
        assert not found[..., :6].any()
        assert not found[..., 4:, :].any()


# What they say of themselves.


def test_names() -> None:
    assert over_noise(GRAD_CAM).name == "grad-cam over noise"
    assert over_flips(over_noise(GRAD_CAM)).name == "grad-cam over noise over flips"
    assert over_layers(GRAD_CAM).name == "grad-cam over layers"
    assert product(method("guided-backprop"), GRAD_CAM).name == "guided-backprop times grad-cam"
    assert over_noise(GRAD_CAM).paper == GRAD_CAM.paper
    assert product(SALIENCY, GRAD_CAM).paper == f"{SALIENCY.paper} and {GRAD_CAM.paper}"


@pytest.mark.parametrize("inner", [row for row in sightline.METHODS if row.layered], ids=lambda row: row.name)
def test_facts_follow_from_the_inner_method(inner: Method) -> None:
    for composed in (over_noise(inner), over_flips(inner), over_layers(inner), product(SALIENCY, inner)):
        assert composed.kind is Kind.ASKING
        assert (composed.signed, composed.needs) == (inner.signed, inner.needs)
        assert composed.layered
        assert composed.discriminative == (inner.discriminative or "times" in composed.name)
        assert composed.seeded == (inner.seeded or "noise" in composed.name)
        assert "generator" not in composed.choices
    assert not over_noise(SALIENCY).layered
    assert product(SALIENCY, method("cam")).needs is Needs.LINEAR_HEAD


def test_a_composed_method_takes_its_own_options_and_keeps_the_inner_ones() -> None:
    composed = over_noise(method("smooth-grad").set(samples=3), samples=5)
    assert composed.choices == {"samples": 5, "noise": 0.15}
    assert composed.set(samples=2).choices["samples"] == 2
    assert list(inspect.signature(over_flips(method("smooth-grad")).rule).parameters) == ["ask", "generator", "scales"]
    with pytest.raises(MethodError, match="smooth-grad over flips has no option 'samples'; its options: scales"):
        over_flips(method("smooth-grad")).set(samples=3)


@pytest.mark.parametrize(("composed", "forwards", "backwards", "heads"), [
    (over_noise(GRAD_CAM), "1 + samples", "samples", "0"),
    (over_flips(GRAD_CAM), "1 + 2 * len(scales)", "2 * len(scales)", "0"),
    (over_layers(GRAD_CAM), "1 + layers", "layers", "0"),
    (product(SALIENCY, GRAD_CAM), "1 + 1", "1 + 1", "0"),
    (over_noise(method("eigen-cam")), "1 + samples", "0", "0"),
    (over_noise(method("integrated-gradients").set(steps=7)), "1 + samples * (7 + 2)", "samples * 7", "0"),
    (over_flips(over_noise(GRAD_CAM, samples=3)), "1 + 2 * len(scales) * (1 + 3)", "2 * len(scales) * 3", "0"),
    (over_noise(method("ablation-cam")), "1 + samples * 2", "0", "samples * channels"),
], ids=lambda value: getattr(value, "name", ""))  # fmt: skip
def test_cost_in_words(composed: Method, forwards: str, backwards: str, heads: str) -> None:
    assert (composed.forwards, composed.backwards, composed.heads) == (forwards, backwards, heads)


@pytest.mark.parametrize("composed", [
    over_noise(GRAD_CAM, samples=3), over_flips(GRAD_CAM, scales=(0.5, 1)), over_layers(GRAD_CAM),
    product(SALIENCY, GRAD_CAM), over_noise(product(SALIENCY, GRAD_CAM), samples=2),
    over_flips(method("smooth-grad").set(samples=3)), over_noise(over_layers(GRAD_CAM), samples=2),
], ids=lambda m: m.name)  # fmt: skip
def test_cost_is_at_most_what_it_says_and_back_just_that(composed: Method) -> None:
    model, images = net()
    layers = [find(model, "late")] if composed.layered else []
    taken = ask(model, images[:1], question(1, Labels(()), 1), layers, [composed]).found[0].passes
    values = composed.choices | {"layers": 3}
    assert taken.backwards == eval(composed.backwards, {}, values)
    assert taken.forwards <= eval(composed.forwards, {}, values)
    if "over flips" not in composed.name and composed.name.count("over") == 1:
        assert taken.forwards == eval(composed.forwards, {}, values)


# What is refused, and the small parts.


@pytest.mark.parametrize(("composed", "message"), [
    (lambda: over_layers(SALIENCY), "saliency gives the same map at every layer"),
    (lambda: product(HIRES, HIRES), "both signed"),
    (lambda: over_layers(GRAD_CAM, fuse="sum"), "'mean', 'max', 'product', not by 'sum'"),
    (lambda: over_layers(HIRES, fuse="product"), "hires-cam is signed"),
    (lambda: over_layers(HIRES).set(fuse="product"), "hires-cam is signed"),
    (lambda: over_flips(GRAD_CAM, scales=()), "positive factors, one at least; got scales=()"),
    (lambda: over_flips(GRAD_CAM, scales=(1, -1)), "positive factors"),
    (lambda: over_noise(GRAD_CAM, samples=0), "samples=0"),
])  # fmt: skip
def test_what_has_no_meaning_is_refused(composed: object, message: str) -> None:
    model, images = net()
    with pytest.raises(MethodError, match=message.replace("()", r"\(\)")):
        sightline.maps(model, images, 1, layer="late", method=composed())  # type: ignore[operator]


def test_by_largest_and_together_by_hand() -> None:
    maps = torch.tensor([[[1.0, -4]], [[0, 0]]])
    assert_close(by_largest(maps), torch.tensor([[[0.25, -1]], [[0, 0]]]))
    coarse, fine = together([torch.tensor([[[[0.0, 4]]]]), torch.zeros(1, 1, 1, 4)])
    assert_close(coarse, torch.tensor([[[[0.0, 1, 3, 4]]]]))
    assert fine.shape == (1, 1, 1, 4)


def test_smoothing_brings_maps_of_nearby_images_nearer() -> None:
    model, images = seeded(Stages).double(), image(1, 12, 8, dtype=torch.float64)
    nudged = images + 0.3 * image(1, 12, 8, seed=9, dtype=torch.float64)
    apart = [
        relative_error(*(sightline.maps(model, each, 1, method=m) for each in (nudged, images)))
        for m in (SALIENCY, over_noise(SALIENCY, samples=40, noise=0.3))
    ]
    assert apart[1] < apart[0]
