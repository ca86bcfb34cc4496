"""Which pixels are marked, which count, and figures in per cent."""

import numpy as np
import pytest
from given import box

from sightline.errors import MetricError
from sightline.metrics.marked import counted, marked
from sightline.metrics.percent import class_percent, percent
from sightline.trials import Truth

MASK = np.array([[True, False, False], [False, False, True]])


def test_a_mask_or_the_union_of_boxes() -> None:
    truth = Truth("thing", ((0, 0, 1, 2), (1, 1, 2, 2)), mask=MASK)
    boxes = [[True, False, False], [True, True, False]]
    assert marked(truth, (3, 2), "mask").tolist() == MASK.tolist()
    assert marked(truth, (3, 2), "boxes").tolist() == boxes
    assert marked(Truth("thing", truth.boxes), (3, 2), "mask").tolist() == boxes
    assert not marked(Truth("thing", mask=MASK), (3, 2), "boxes").any()
    with pytest.raises(MetricError, match="region=hull is none of mask, boxes"):
        marked(truth, (3, 2), "hull")


def test_ignored_pixels_dont_count_beside_masks() -> None:
    heat = np.arange(6.0).reshape(2, 3)
    truth = box(0, 0, 1, 2, mask=MASK, ignore=~MASK)
    found = counted(heat, truth, "mask")
    assert np.isnan(found).tolist() == (~MASK).tolist()
    assert found[MASK].tolist() == [0, 5]
    assert counted(heat, truth, "boxes") is heat
    assert counted(heat, box(0, 0, 1, 2), "mask") is heat
    assert not np.isnan(heat).any()


def test_per_cent_of_all_and_per_class() -> None:
    values, labels = np.array([[1.0, 9], [0, 9], [0.5, 9], [1, 9]]), ["cat", "cat", "cat", "dog"]
    assert percent(values, labels) == 62.5
    assert class_percent(values, labels) == 75
