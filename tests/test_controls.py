"""Controls hold to the laws that rows of METHODS are held to, and are what they are called."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from nets import Pooled, image, seeded
from scipy.stats import kstest
from torch import Tensor, nn
from torch.testing import assert_close

import sightline
from sightline.ask import ask
from sightline.errors import MethodError
from sightline.methods import method
from sightline.methods.controls import CONTROLS
from sightline.targets import question
from sightline.types import Kind, Method

every_control = pytest.mark.parametrize("row", CONTROLS, ids=[row.name for row in CONTROLS])
drawn = pytest.mark.parametrize("row", [row for row in CONTROLS if row.seeded], ids=lambda row: row.name)


def maps(row: str | Method, images: Tensor, targets: Any = 1, seed: int = 0, model: nn.Module | None = None) -> Tensor:
    return sightline.maps(model or seeded(Pooled), images, targets, method=row, seed=seed)


# The laws.


@every_control
def test_a_batch_is_its_images_one_by_one_and_repeats(row: Method) -> None:
    images = image(3, 9, 7, seed=5)
    found = maps(row, images, [3, 0, 2])
    assert found.shape == (3, 9, 7)
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert torch.equal(found, maps(row, images, [3, 0, 2]))
    assert torch.equal(found, torch.cat([maps(row, images[i : i + 1]) for i in range(3)]))
    assert torch.equal(found.flip(0), maps(row, images.flip(0)))


@every_control
def test_is_the_same_for_every_class_layer_and_net_and_never_negative(row: Method) -> None:
    images = image(2, 9, 7, seed=5)
    found = maps(row, images, [[3, 0, 2], [1, 1, 3]])
    assert found.shape == (2, 3, 9, 7)
    assert torch.equal(found, found[:, :1].expand_as(found))
    assert torch.equal(found[:, 0], maps(row, images, model=seeded(Pooled, 1)))
    assert torch.equal(found[:, 0], sightline.maps(seeded(Pooled), images, 1, layer="no such layer", method=row))
    assert found.min() >= 0
    assert (row.signed, row.discriminative, row.layered) == (False, False, False)


@every_control
def test_costs_what_it_says(row: Method) -> None:
    model, images, seen = seeded(Pooled), image(1), []
    handle = model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    (found,) = ask(model, images, question(1, sightline.Labels(()), 1), [], [row]).found
    handle.remove()
    passes = [found.passes.forwards, found.passes.backwards, found.passes.heads]
    assert passes == [int(row.forwards), int(row.backwards), int(row.heads)] == [sum(seen), 0, 0] == [1, 0, 0]


@every_control
def test_only_those_that_draw_change_with_the_seed(row: Method) -> None:
    found, other = maps(row, image()), maps(row, image(), seed=1)
    assert torch.equal(found, other) == (not row.seeded)
    assert row.seeded == row.name.startswith("random")


@every_control
def test_takes_images_of_other_channels_and_precisions(row: Method) -> None:
    class Mean(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.stack([images.flatten(1).mean(1), images.flatten(1).sum(1)], 1)

    for channels, dtype in ((1, torch.float32), (4, torch.float64), (3, torch.bfloat16)):
        found = maps(row, torch.rand(2, channels, 6, 5).to(dtype), model=Mean())
        assert found.shape == (2, 6, 5)
        assert found.isfinite().all()


@every_control
def test_is_found_by_name_but_is_no_method(row: Method) -> None:
    assert method(row.name) is row
    assert row.name not in {each.name for each in sightline.METHODS}
    assert row.kind is Kind.ASKING


def test_an_unknown_name_may_be_near_a_controls() -> None:
    with pytest.raises(MethodError, match="no method 'randon'; nearest: 'random'"):
        method("randon")


# What they are.


@drawn
def test_each_image_has_a_draw_of_its_own_and_the_same_image_the_same(row: Method) -> None:
    images = image(3, 9, 7)
    images[2] = images[0]
    found = maps(row, images)
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
    images[0, 0, 0, 0] += 1e-3
    assert not torch.equal(maps(row, images)[0], found[0])


def test_random_is_even_noise() -> None:
    found = maps("random", image(1, 60, 50))[0]
    assert kstest(found.flatten().numpy(), "uniform").pvalue > 0.01
    assert abs(np.corrcoef(found[:, 1:].flatten(), found[:, :-1].flatten())[0, 1]) < 0.05
    other = maps("random", image(1, 60, 50), seed=1)[0]
    assert abs(np.corrcoef(found.flatten(), other.flatten())[0, 1]) < 0.05


def test_random_blurred_is_that_noise_blurred_and_stretched() -> None:
    from scipy.ndimage import gaussian_filter

    images = image(1, 40, 20)
    for blur, sigma in ((0.05, 2), (0.1, 4)):
        found = maps(f"random-blurred:blur={blur}", images)[0]
        true = gaussian_filter(maps("random", images)[0].double().numpy(), sigma)
        true = (true - true.min()) / (true.max() - true.min())
        assert_close(found, torch.from_numpy(true).float())
        assert (found.min(), found.max()) == (0, 1)
    assert torch.equal(maps("random-blurred", images), maps("random-blurred:blur=0.05", images))


def test_one_pixel_blurred_is_nothing() -> None:
    class Mean(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :2]

    assert maps("random-blurred", torch.rand(1, 3, 1, 1), model=Mean()).tolist() == [[[0]]]


def test_uniform_is_one() -> None:
    assert torch.equal(maps("uniform", image(2, 5, 6)), torch.ones(2, 5, 6))


def test_centre_by_hand() -> None:
    """At the middle of 5 x 3 pixels 1; a fifth of the height, or a third of the width, away as the Gaussian says."""
    found = maps("centre:spread=0.5", image(2, 5, 3))
    assert torch.equal(found[0], found[1])
    assert found[0, 2, 1] == 1
    assert found[0, 1, 1].item() == pytest.approx(math.exp(-(0.2**2) / 0.5), rel=1e-6)
    assert found[0, 2, 0].item() == pytest.approx(math.exp(-((1 / 3) ** 2) / 0.5), rel=1e-6)
    assert found[0, 4, 2].item() == pytest.approx(math.exp(-(0.4**2 + (1 / 3) ** 2) / 0.5), rel=1e-6)
    assert_close(maps("centre", image(1, 5, 3))[0, 2, 0].item(), math.exp(-((1 / 3) ** 2) / 0.125))


def test_edges_of_a_ramp_and_a_step() -> None:
    """On a ramp of 2 a pixel across in every channel the slope is 2, half of it at borders, which are repeated."""
    images = torch.zeros(1, 3, 4, 5) + 2 * torch.arange(5.0)
    true = torch.tensor([1.0, 2, 2, 2, 1]).expand(1, 4, 5)
    assert_close(maps("edges", images), true)
    assert_close(maps("edges", images.transpose(2, 3)), true.transpose(1, 2))
    diagonal = torch.arange(5.0)[:, None] + torch.arange(5.0)
    assert_close(maps("edges", diagonal.expand(1, 3, 5, 5))[0, 2, 2].item(), math.sqrt(2))


def test_edges_weigh_channels_by_their_luminance() -> None:
    ramp = torch.arange(6.0).expand(6, 6)
    found = [maps("edges", torch.stack([ramp * (c == on) for c in range(3)])[None])[0, 3, 3].item() for on in range(3)]
    assert found == pytest.approx([0.299, 0.587, 0.114])


def test_edges_are_scikit_images_inside() -> None:
    """Whose slopes are those of half a pixel."""
    filters = pytest.importorskip("skimage.filters")
    images = image(1, 12, 9)
    grey = torch.einsum("chw,c->hw", images[0], torch.tensor([0.299, 0.587, 0.114])).numpy()
    true = np.hypot(filters.sobel_h(grey), filters.sobel_v(grey))[1:-1, 1:-1]
    assert_close(2 * maps("edges", images)[0, 1:-1, 1:-1], torch.from_numpy(true).float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("text", ["random-blurred:blur=0", "random-blurred:blur=-1", "centre:spread=0"])
def test_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(MethodError, match="above 0"):
        maps(text, image(1))
