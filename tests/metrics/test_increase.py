"""Increase in confidence by hand and at its limits."""

import numpy as np
import pytest
import torch
from sure import sure

from sightline.metrics.increase import increase
from sightline.metrics.percent import percent


@pytest.mark.parametrize(("before", "after", "risen"), [(0.4, 0.5, 1), (0.4, 0.4, 0), (0.5, 0.4, 0), (0, 0.1, 1)])
def test_by_hand(before: float, after: float, risen: float) -> None:
    assert increase(sure(before, after)) == (risen,)


def test_the_figure_is_how_often_in_per_cent() -> None:
    values = np.array([increase(sure(0.4, after)) for after in (0.1, 0.5, 0.6, 0.2)])
    assert percent(values, ["a"] * 4) == 50


def test_an_even_map_never_increases() -> None:
    assert increase(sure(0.4, 0.9, torch.ones(3, 3))) == (0,)
    assert increase(sure(0.4, 0.9, torch.ones(3, 3)), mask="half") == (1,)
    assert increase(sure(0.4, 0.9, torch.ones(3, 3)), mask="min-max") is None


def test_what_is_muted_is_filled_as_told() -> None:
    """Where black is the image's own colour nothing is muted."""
    trial = sure(0.4, 0.9)
    trial.colour = lambda *_: torch.ones(3, 1, 1)  # type: ignore[method-assign]
    assert increase(trial) == (1,)
    assert increase(trial, fill="black") == (0,)


def test_an_empty_map_cant_be_judged() -> None:
    assert increase(sure(0.4, 0.9, torch.zeros(3, 3))) is None
    assert increase(sure(0.4, 0.9, -torch.ones(3, 3))) is None
