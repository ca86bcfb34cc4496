"""Localization error by hand: what is a right box, and how the class's place counts."""

import numpy as np
import pytest
import torch
from given import box, given
from toys import Toy

from sightline.errors import MetricError
from sightline.geometry import Box
from sightline.metrics.localization import (
    class_known,
    class_top_1,
    class_top_5,
    localization,
    mean_iou,
    top_1,
    top_5,
)
from sightline.trials import Truth


def trial(raw: torch.Tensor, *boxes: Box, rank: int = 0, difficult: bool = False) -> Toy:
    return Toy(raw, Truth("thing", boxes, difficult=difficult), rank=rank, image=torch.zeros(3, *raw.shape))


def block(x0: int, y0: int, x1: int, y1: int, value: float = 1.0) -> torch.Tensor:
    """A map of 10 x 12 that is lit in a box."""
    raw = torch.zeros(10, 12)
    raw[y0:y1, x0:x1] = value
    return raw


def test_a_perfect_map_has_an_iou_of_one() -> None:
    assert localization(trial(block(2, 3, 7, 9), (2, 3, 7, 9), rank=4)) == (1, 1, 4)


def test_the_best_of_several_true_boxes_counts() -> None:
    found = localization(trial(block(0, 0, 4, 4), (6, 6, 10, 10), (0, 0, 4, 6), (0, 0, 12, 10)))
    assert found == (1, pytest.approx(16 / 24), 0)


def test_just_at_the_iou_is_right() -> None:
    half = trial(block(0, 0, 4, 4), (0, 0, 8, 4))
    assert localization(half) == (1, 0.5, 0)
    assert localization(half, iou=0.51) == (0, 0.5, 0)


def test_the_threshold_is_a_fraction_of_the_maximum() -> None:
    raw = block(0, 0, 4, 4) + block(4, 0, 8, 4, 0.15) + block(8, 0, 12, 4, 0.14)
    assert localization(trial(raw, (0, 0, 8, 4))) == (1, 1, 0)
    assert localization(trial(7 * raw, (0, 0, 12, 4)), fraction=0.1) == (1, 1, 0)
    assert localization(trial(raw, (0, 0, 4, 4)), fraction=0.5) == (1, 1, 0)


def test_the_convention_of_the_largest_segment_is_an_option() -> None:
    raw = block(0, 0, 5, 5) - block(1, 1, 4, 4) + block(7, 0, 12, 4)  # a ring of 16 pixels beside 20
    ring = trial(raw, (0, 0, 5, 5))
    assert localization(ring) == (0, 0, 0)
    assert localization(ring, largest="contour") == (1, 1, 0)
    assert localization(ring, largest="rect") == (1, 1, 0)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_an_empty_map_misses(value: float) -> None:
    assert localization(trial(torch.full((4, 4), value), (0, 0, 4, 4), rank=2)) == (0, 0, 2)


def test_an_even_map_is_the_whole_picture() -> None:
    assert localization(trial(torch.ones(4, 4), (0, 0, 2, 4))) == (1, 0.5, 0)


def test_an_inverted_map_misses() -> None:
    assert localization(trial(1 - block(4, 4, 7, 7), (4, 4, 7, 7))) == (0, pytest.approx(9 / 120), 0)


def test_unseen_pixels_are_in_no_box() -> None:
    raw = block(0, 0, 6, 4)
    raw[:, 3:] = np.nan
    assert localization(given(raw, box(0, 0, 3, 4))) == (1, 1, 0)


def test_what_cannot_be_judged() -> None:
    assert localization(trial(block(0, 0, 4, 4))) is None
    assert localization(Toy(block(0, 0, 4, 4))) is None
    assert localization(trial(block(0, 0, 4, 4), (0, 0, 4, 4), difficult=True)) is None


@pytest.mark.parametrize("wrong", [{"fraction": 15}, {"fraction": -0.1}, {"iou": 0}, {"iou": 50}, {"largest": "area"}])
def test_other_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(MetricError, match="localization takes a fraction"):
        localization(trial(block(0, 0, 4, 4), (0, 0, 4, 4)), **wrong)


def test_the_figures_of_a_data_set() -> None:
    """Right and first, right and fifth, right and sixth, wrong and first, wrong and third."""
    values = np.array([[1, 0.9, 0], [1, 0.5, 4], [1, 0.6, 5], [0, 0.4, 0], [0, 0.1, 2]])
    labels = ["a"] * 5
    assert top_1(values, labels) == pytest.approx(80)
    assert top_5(values, labels) == pytest.approx(60)
    assert class_known(values, labels) == pytest.approx(40)
    assert mean_iou(values, labels) == pytest.approx(50)
    assert class_top_1(values, labels) == pytest.approx(60)
    assert class_top_5(values, labels) == pytest.approx(20)
    second = np.array([[1, 0.9, 1]])
    assert [figure(second, ["a"]) for figure in (top_1, class_top_1, top_5, class_top_5)] == [100, 100, 0, 0]
