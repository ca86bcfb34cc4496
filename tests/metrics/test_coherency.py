"""Coherency: what the method is shown, cases by hand, limits, and a peer."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from toys import Toy

from sightline.metrics.coherency import coherency
from sightline.metrics.correlation import pearson

IMAGE = torch.randn(3, 8, 6, generator=torch.Generator().manual_seed(0))
NOISE = torch.rand(8, 6, generator=torch.Generator().manual_seed(1))


def brightness(images: Tensor, index: int) -> Tensor:
    """A method: how bright each pixel is."""
    return images.mean(1)


def toy(raw: Tensor, again: Tensor | None = None) -> Toy:
    """A trial whose method gives `again` for whatever it is shown."""
    return Toy(raw, image=IMAGE, method=brightness if again is None else lambda images, index: again[None])


def part(found: tuple[float] | None) -> float:
    assert found is not None
    return found[0]


def test_the_method_is_shown_the_normalised_image_times_the_map_over_its_maximum() -> None:
    seen = []

    def method(images: Tensor, index: int) -> Tensor:
        seen.append((images, index))
        return NOISE[None]

    coherency(Toy(4 * NOISE - 1, image=IMAGE, method=method, index=3))
    ((images, index),) = seen
    lit = (4 * NOISE - 1).clamp(min=0)
    assert_close(images, (IMAGE * lit / lit.max())[None])
    assert index == 3


def test_is_the_correlation_of_positive_parts_from_0_to_1() -> None:
    own, other = NOISE - 0.3, NOISE.flip(0) - 0.4
    true = pearson(own.clamp(min=0), other.clamp(min=0))
    assert true is not None
    assert part(coherency(toy(own, other))) == pytest.approx((1 + true) / 2)


def test_by_hand() -> None:
    """0 0 1 against 0 1 1 correlate by a half, in an image of those three pixels."""
    trial = Toy(
        torch.tensor([[0.0, 0, 1]]),
        image=torch.ones(3, 1, 3),
        method=lambda images, index: torch.tensor([[[0.0, 2, 2]]]),
    )
    assert part(coherency(trial)) == pytest.approx(0.75)


def test_coarse_maps_are_compared_in_the_image() -> None:
    raw = torch.rand(4, 3)
    trial = toy(raw, NOISE)
    assert part(coherency(trial)) == pytest.approx((1 + pearson(trial.map, NOISE)) / 2)  # type: ignore[operator]
    assert part(coherency(toy(raw, 7 * raw))) == pytest.approx(1)


def test_limits() -> None:
    assert part(coherency(toy(NOISE, NOISE))) == pytest.approx(1)
    assert part(coherency(toy(NOISE, 1 - NOISE))) == pytest.approx(0, abs=1e-6)
    for empty in (torch.zeros(8, 6), -NOISE, torch.ones(8, 6)):
        assert coherency(toy(empty, NOISE)) is None
        assert coherency(toy(NOISE, empty)) is None


def test_of_a_normalised_map_it_is_pytorch_grad_cams() -> None:
    arcc = pytest.importorskip("pytorch_grad_cam.metrics.arcc")
    lit = NOISE / NOISE.max()
    theirs = arcc.Coherency()(IMAGE[None], lit[None].numpy(), None, None, lambda input_tensor, targets: (
        brightness(input_tensor, 0).clamp(min=0).numpy()
    ))  # fmt: skip
    assert part(coherency(toy(NOISE))) == pytest.approx(float(theirs[0]), abs=1e-5)
