"""Regions by hand: peak, mask, the largest component and the paper's box."""

import numpy as np
import pytest

from sightline import regions

NAN = np.nan
HEAT = np.array(
    [
        [0.0, 0.9, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.2, 0.2],
        [0.0, 0.0, 0.0, 0.2, 0.1, 0.2],
        [1.0, 0.0, 0.0, 0.2, 0.2, 0.2],
        [-5.0, 0.0, 0.0, 0.0, NAN, 0.0],
    ]
)


def test_the_peak_is_the_maximum_in_x_y() -> None:
    assert regions.peak(HEAT) == (0, 3)


def test_of_equal_maxima_the_first_in_reading_order_is_the_peak() -> None:
    assert regions.peak(np.array([[0, 1.0], [1.0, 0]])) == (1, 0)


def test_the_mask_is_at_least_the_fraction_of_the_maximum() -> None:
    assert regions.mask(HEAT, 0.15).sum() == 9
    assert regions.mask(HEAT, 0.2).sum() == 9
    assert regions.mask(HEAT, 0.21).sum() == 2
    assert regions.mask(HEAT, 0.1).sum() == 10
    assert regions.mask(HEAT, 0).sum() == 10  # nothing that isn't above zero is evidence


def test_the_box_is_around_the_largest_component_not_the_brightest() -> None:
    assert regions.box(HEAT, 0.15) == (3, 1, 6, 4)
    assert regions.box(HEAT, 0.95) == (0, 3, 1, 4)


def test_cells_that_touch_at_a_corner_are_one_component() -> None:
    assert regions.box(np.eye(4)) == (0, 0, 4, 4)


def test_of_equal_components_the_first_in_reading_order_wins() -> None:
    assert regions.box(np.array([[1.0, 0, 1.0]])) == (0, 0, 1, 1)


@pytest.mark.parametrize("empty", [np.zeros((3, 4)), np.full((3, 4), -1.0), np.full((3, 4), NAN)])
def test_an_empty_map_has_no_peak_no_mask_and_no_box(empty: np.ndarray) -> None:
    assert regions.peak(empty) is None
    assert not regions.mask(empty).any()
    assert regions.box(empty) is None


def test_a_fraction_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        regions.mask(HEAT, 15)
