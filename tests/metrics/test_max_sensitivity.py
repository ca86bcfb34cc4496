"""Max-sensitivity where it is known, against captum's given the same noise, and at its limits."""

from typing import Any

import pytest
import torch
from linear import noise
from torch import Tensor
from toys import Toy

from sightline.errors import MetricError
from sightline.metrics.max_sensitivity import max_sensitivity

IMAGE = noise(0, 3, 6, 8)


class Watched(Toy):
    """Keeps the images whose maps were asked; a colour's channels are divided by a tenth, a fifth and a half."""

    def again(self, images: Tensor | None = None, index: int | None = None) -> Tensor:
        assert images is not None
        self.shown = images
        return super().again(images, index)

    def colour(self, red: float, green: float, blue: float) -> Tensor:
        return (super().colour(red, green, blue) - 0.3) / torch.tensor([0.1, 0.2, 0.5]).view(3, 1, 1)


def watched(method: Any, **facts: Any) -> Watched:
    return Watched(method(IMAGE[None], 0)[0], image=IMAGE, method=method, **facts)


def grey(images: Tensor, index: int) -> Tensor:
    return images.sum(1)


def curved(images: Tensor, index: int) -> Tensor:
    return (3 * images).sin().sum(1)[:, ::2, ::2] + index


def test_of_a_map_that_is_the_image_it_is_the_largest_noise() -> None:
    trial = watched(grey)
    expected = [float((image - IMAGE).sum(0).norm() / IMAGE.sum(0).norm()) for image in _shown(trial)]
    assert len(expected) == 10
    assert max_sensitivity(trial) == pytest.approx((max(expected),), rel=1e-5)
    assert min(expected) < 0.95 * max(expected)


def _shown(trial: Watched, **options: Any) -> Tensor:
    max_sensitivity(trial, **options)
    return trial.shown


def test_noise_is_even_within_the_radius_in_colours() -> None:
    """0.1 of a colour of 0..1 is 1, 0.5 and 0.2 of the channels' values."""
    moves = _shown(watched(grey), samples=400) - IMAGE
    for channel, radius in zip(moves.unbind(1), (1, 0.5, 0.2)):
        assert channel.abs().max() <= radius
        assert channel.max() > 0.999 * radius
        assert channel.min() < -0.999 * radius
        assert channel.mean() == pytest.approx(0, abs=0.01)
        assert channel.std() == pytest.approx(radius / 3**0.5, rel=0.02)
    smaller = _shown(watched(grey), samples=400, radius=0.01) - IMAGE
    assert smaller.mul(10).sub(moves).abs().max() < 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_equals_captums(seed: int) -> None:
    metrics = pytest.importorskip("captum.metrics", reason="captum isn't installed")
    trial = watched(curved, index=1, seed=seed)
    trial.raw = curved(IMAGE[None], 1)[0]
    found = max_sensitivity(trial)

    def explained(images: Any) -> Any:
        """As their methods do: a tuple for a tuple."""
        return curved(images, 1) if isinstance(images, Tensor) else (curved(images[0], 1),)

    theirs = metrics.sensitivity_max(explained, IMAGE[None], perturb_func=lambda _: trial.shown)
    assert found == pytest.approx((float(theirs),), rel=1e-5)


def test_scale_doesnt_matter() -> None:
    plain = max_sensitivity(watched(curved))
    assert max_sensitivity(watched(lambda images, index: 1e-20 * curved(images, index))) == pytest.approx(plain)
    assert max_sensitivity(watched(lambda images, index: -50 * curved(images, index))) == pytest.approx(plain)


def test_more_samples_find_more() -> None:
    few, many = (max_sensitivity(watched(curved), samples=samples) for samples in (1, 200))
    assert few is not None
    assert many is not None
    assert few < many


def test_the_seed_draws_the_noise() -> None:
    found = [max_sensitivity(watched(curved, seed=seed)) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_limits() -> None:
    """A map that is always the same gets 0; one of zeros can't be judged."""
    assert max_sensitivity(watched(lambda images, index: torch.ones(len(images), 4, 4))) == (0,)
    assert max_sensitivity(watched(lambda images, index: torch.zeros(len(images), 4, 4))) is None
    assert max_sensitivity(watched(lambda images, index: -images.square().sum(1))) is not None


@pytest.mark.parametrize(("option", "value"), [("radius", 0), ("radius", -0.1), ("samples", 0)])
def test_refuses_no_noise(option: str, value: Any) -> None:
    with pytest.raises(MetricError, match=rf"a radius above 0 and 1 sample or more; got .*{option}={value}"):
        max_sensitivity(watched(grey), **{option: value})
