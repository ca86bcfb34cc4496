"""Average Gain by hand and at its limits."""

import numpy as np
import pytest
import torch
from sure import sure

from sightline.metrics.average_gain import average_gain
from sightline.metrics.percent import percent


@pytest.mark.parametrize(
    ("before", "after", "gain"),
    [(0.2, 0.6, 0.5), (0.5, 0.6, 0.2), (0.5, 0.5, 0), (0.6, 0.2, 0), (0, 0.3, 0.3), (0.9, 1, 1)],
)
def test_by_hand(before: float, after: float, gain: float) -> None:
    assert average_gain(sure(before, after)) == pytest.approx((gain,))


def test_the_figure_is_a_mean_in_per_cent() -> None:
    values = np.array([average_gain(sure(0.2, after)) for after in (0.1, 0.6, 1)])
    assert percent(values, ["a"] * 3) == pytest.approx(50)


def test_options_reach_the_explanation_map() -> None:
    """Half of an even map is muted, which changes nothing where black is the image's own colour."""
    even = sure(0.2, 0.6, torch.ones(3, 3))
    even.colour = lambda *_: torch.ones(3, 1, 1)  # type: ignore[method-assign]
    assert average_gain(even) == (0,)
    assert average_gain(even, mask="half") == pytest.approx((0.5,))
    assert average_gain(even, mask="half", fill="black") == (0,)


def test_what_cant_be_judged() -> None:
    assert average_gain(sure(0.2, 0.6, torch.zeros(3, 3))) is None
    assert average_gain(sure(1.0, 0.6)) is None
