"""ADCC: its three parts, by hand, and limits."""

from typing import Any

import pytest
import torch
from torch import Tensor
from toys import Toy

from sightline.metrics.adcc import adcc
from sightline.metrics.coherency import coherency
from sightline.metrics.complexity import complexity

IMAGE = torch.randn(3, 8, 6, generator=torch.Generator().manual_seed(0))
NOISE = torch.rand(8, 6, generator=torch.Generator().manual_seed(1))


def toy(raw: Tensor, again: Tensor, **facts: Any) -> Toy:
    """A trial whose method gives `again` for whatever it is shown."""
    return Toy(raw, image=IMAGE, method=lambda images, index: again[None], **facts)


def part(found: tuple[float] | None) -> float:
    assert found is not None
    return found[0]


def net(images: Tensor) -> Tensor:
    """Two classes, the first as likely as the image is lit: odds of the mean square."""
    odds = images.square().flatten(1).mean(1).clamp(min=1e-30)
    return torch.stack([odds.log(), torch.zeros(len(images))], 1)


def test_is_the_harmonic_mean_of_its_three_parts() -> None:
    trial = toy(NOISE, NOISE.flip(0), module=net)
    lit = NOISE / NOISE.max()
    before, after = ((m := float(image.square().mean())) / (1 + m) for image in (IMAGE, IMAGE * lit))
    assert after < before
    drop = (before - after) / before
    parts = (part(coherency(trial)), 1 - part(complexity(trial)), 1 - drop)
    assert part(adcc(trial)) == pytest.approx(3 / sum(1 / each for each in parts))


def test_by_hand() -> None:
    """Coherency 0.75, a third lit, and a probability that falls from 1/2 to 1/4."""
    trial = Toy(
        torch.tensor([[0.0, 0, 1]]),
        image=torch.ones(3, 1, 3),
        method=lambda images, index: torch.tensor([[[0.0, 2, 2]]]),
        module=net,
    )
    assert part(adcc(trial)) == pytest.approx(3 / (1 / 0.75 + 1 / (2 / 3) + 1 / (1 / 2)))


def test_doesnt_count_a_rise() -> None:
    falling = toy(NOISE, NOISE, module=lambda images: -net(images))
    assert part(adcc(falling)) == pytest.approx(3 / (1 + 1 / (1 - part(complexity(falling))) + 1))


def test_limits() -> None:
    even = toy(NOISE, NOISE, module=lambda images: torch.zeros(len(images), 2))
    assert part(adcc(even)) == pytest.approx(3 / (1 + 1 / (1 - part(complexity(even))) + 1))
    assert part(adcc(toy(NOISE.round(), 1 - NOISE.round()))) == pytest.approx(0, abs=1e-6)  # no coherency at all
    lost = toy(NOISE, NOISE, module=lambda images: torch.tensor([[0.0, 0], [-1e4, 0]]))
    assert part(adcc(lost)) == 0
    unlikely = toy(NOISE, NOISE, module=lambda images: torch.tensor([[-1e4, 0.0]] * 2))
    assert adcc(unlikely) is None
    for empty in (torch.zeros(8, 6), -NOISE, torch.ones(8, 6)):
        assert adcc(toy(empty, NOISE, module=net)) is None
