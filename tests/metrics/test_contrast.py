"""Contrast: cases by hand, limits, and which class is the rival."""

from typing import Any

import pytest
import torch
from torch import Tensor
from toys import Toy

from sightline.metrics.contrast import contrast, movement
from sightline.trials import Values


def asked(*maps: Tensor, **facts: Any) -> tuple[float, float] | None:
    """The contrast of class 0, of classes with these maps."""
    return contrast(Toy(maps[0], method=lambda images, index: maps[index][None].expand(len(images), -1, -1), **facts))


def test_by_hand() -> None:
    """Ranks 0 1 2 3 against 1 0 3 2, with d = 1 four times; a third of 3, 0, 1, 2 (of 6) moves to 0, 3, 2, 1."""
    own, rival = torch.tensor([[0.0, 1], [2, 3]]), torch.tensor([[1.0, 0], [3, 2]])
    assert asked(own, rival) == pytest.approx((1 - 6 * 4 / (4 * 15), 2 / 6))


def test_limits() -> None:
    noise = torch.rand(7, 7)
    assert asked(noise, noise) == pytest.approx((1, 0))  # whatever is asked
    assert asked(noise, 5 * noise) == pytest.approx((1, 0), abs=1e-6)
    left, right = torch.zeros(2, 4, 4)
    left[:, :2] = right[:, 2:] = 1
    assert asked(left, right) == pytest.approx((-1, 1))
    flipped = asked(noise, 1 - noise)
    assert flipped is not None
    assert flipped[0] == pytest.approx(-1)


def test_evidence_against_doesnt_move() -> None:
    own, rival = torch.tensor([[1.0, 0, -9]]), torch.tensor([[1.0, 0, -1]])
    assert asked(own, rival) == pytest.approx((1, 0))


def test_the_rival_is_the_strongest_other_class() -> None:
    own, near, far = torch.tensor([[1.0, 2, 3]]), torch.tensor([[1.0, 2, 4]]), torch.tensor([[3.0, 2, 1]])
    assert asked(own, near, far, rivals=(2, 1)) == pytest.approx((-1, 1 / 3))
    assert asked(own, near, far, rivals=(1, 2)) == pytest.approx((1, 4 / 7 - 1 / 2))


def test_trials_that_cant_be_judged() -> None:
    noise = torch.rand(3, 3)
    for empty in (torch.zeros(3, 3), torch.ones(3, 3), -noise - 1):
        assert asked(noise, empty) is None
        assert asked(empty, noise) is None
    assert asked(noise, noise, rivals=()) is None


def test_movement_is_the_second_mean() -> None:
    values: Values = torch.tensor([[0.5, 0.25], [1, 0.75]]).double().numpy()
    assert movement(values, ["a", "b"]) == 0.5
