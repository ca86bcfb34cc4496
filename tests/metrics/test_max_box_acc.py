"""MaxBoxAcc by hand: one threshold for all, the conventions of its boxes, and the three IoUs of the second version."""

import numpy as np
import pytest
import torch
from toys import Toy

from sightline.errors import MetricError
from sightline.geometry import Box, Framing
from sightline.metrics.max_box_acc import (
    accuracy,
    accuracy_at_30,
    accuracy_at_70,
    accuracy_by_threshold,
    accuracy_v2,
    best_threshold,
    max_box_acc,
    max_box_acc_v2,
)
from sightline.trials import Truth

SIDE = 224


def trial(raw: torch.Tensor, *boxes: Box, difficult: bool = False) -> Toy:
    """In a picture of 224 pixels, or as large as the map."""
    return Toy(raw, Truth("thing", boxes, difficult=difficult), image=torch.zeros(3, *raw.shape))


def steps() -> torch.Tensor:
    """A block of 1 in one of 0.6 in one of 0.3, on 0."""
    raw = torch.zeros(SIDE, SIDE)
    raw[20:200, 20:180] = 0.3
    raw[40:160, 40:140] = 0.6
    raw[60:120, 60:100] = 1.0
    return raw


def inclusive(box: tuple[int, ...], truth: tuple[int, ...]) -> float:
    """The IoU of two boxes of pixels whose ends are in them, by counting."""
    a, b = np.zeros((300, 300), dtype=bool), np.zeros((300, 300), dtype=bool)
    a[box[1] : box[3] + 1, box[0] : box[2] + 1] = True
    b[truth[1] : truth[3] + 1, truth[0] : truth[2] + 1] = True
    return (a & b).sum() / (a | b).sum()


def test_each_threshold_has_the_iou_of_its_box() -> None:
    found = max_box_acc(trial(steps(), (40, 40, 140, 160)))
    assert found is not None
    assert found.shape == (100,)
    truth = (40, 40, 139, 159)
    assert found[5] == pytest.approx(inclusive((20, 20, 180, 200), truth))
    assert found[45] == pytest.approx(inclusive((40, 40, 140, 160), truth))  # a pixel late on two sides
    assert found[80] == pytest.approx(inclusive((60, 60, 100, 120), truth))
    assert len(set(found.tolist())) == 3
    assert np.flatnonzero(np.diff(found)).tolist() == [29, 59]  # 0.3 and 0.6 are levels 76 and 153: cut at 0.30, 0.60


def test_the_largest_contour_or_any() -> None:
    raw = torch.zeros(SIDE, SIDE)
    raw[10:110, 10:110] = 1
    raw[150:190, 150:200] = 1
    small = trial(raw, (150, 150, 200, 190))
    first, second = max_box_acc(small, step=0.5), max_box_acc_v2(small, step=0.5)
    assert first is not None
    assert second is not None
    assert first.tolist() == [0, 0]
    assert second == pytest.approx(np.full(2, 50 * 40 / (51 * 41)))


def test_the_map_is_stretched_so_a_negative_one_counts_too() -> None:
    plain = max_box_acc(trial(steps(), (40, 40, 140, 160)))
    moved = max_box_acc(trial(4 * steps() - 7, (40, 40, 140, 160)))
    assert plain == pytest.approx(moved)


def test_boxes_and_map_go_to_the_same_square() -> None:
    """A picture of 448 x 112: the map of 224 is spread over it, the box halved and doubled."""
    toy = trial(steps(), (80, 20, 280, 80))

    class Wide(Toy):
        @property
        def size(self) -> tuple[int, int]:
            return 448, 112

        @property
        def framing(self) -> Framing:
            return Framing.whole((448, 112), (SIDE, SIDE))

    wide = Wide(toy.raw, toy.truth)
    found = max_box_acc(wide)
    assert found is not None
    assert found[45] == pytest.approx(inclusive((40, 40, 140, 160), (40, 40, 139, 158)))


def test_a_coarse_map_is_spread_by_cubic_interpolation() -> None:
    raw = torch.zeros(7, 7)
    raw[2:5, 2:5] = 1
    toy = Toy(raw, Truth("thing", ((64, 64, 160, 160),)), image=torch.zeros(3, SIDE, SIDE))
    found = max_box_acc(toy)
    assert found is not None
    assert found[50] == pytest.approx(96 * 96 / 97**2)
    assert found[20] < found[50] > found[80]


@pytest.mark.parametrize("raw", [torch.zeros(7, 7), torch.full((7, 7), np.nan), torch.full((7, 7), 2.0)], ids=str)
def test_an_even_map_has_the_box_of_the_first_pixel(raw: torch.Tensor) -> None:
    toy = Toy(raw, Truth("thing", ((0, 0, 2, 2), (100, 100, 200, 200))), image=torch.zeros(3, SIDE, SIDE))
    for rule in (max_box_acc, max_box_acc_v2):
        found = rule(toy, step=0.5)
        assert found is not None
        assert found.tolist() == [0.25, 0.25]


def test_what_is_unseen_is_the_lowest() -> None:
    """The model sees the left half of a picture as wide as two squares, as a square."""

    class Half(Toy):
        @property
        def size(self) -> tuple[int, int]:
            return 2 * SIDE, SIDE

        @property
        def framing(self) -> Framing:
            return Framing.cropped(self.size, self.size, (0, 0), (SIDE, SIDE))

    found = max_box_acc(Half(steps(), Truth("thing", ((40, 40, 140, 160),))))
    assert found is not None
    assert found[45] == pytest.approx(inclusive((20, 40, 70, 160), (20, 40, 69, 159)))
    even = max_box_acc(Half(torch.ones(7, 7), Truth("thing", ((40, 40, 140, 160),))), step=0.5)
    assert even is not None
    assert even.tolist() == [0, 0]


def test_what_cannot_be_judged_or_asked() -> None:
    assert max_box_acc(trial(steps())) is None
    assert max_box_acc(Toy(steps())) is None
    assert max_box_acc_v2(trial(steps(), (0, 0, 9, 9), difficult=True)) is None
    for step in (0, -0.1, 2):
        with pytest.raises(MetricError, match="step above 0"):
            max_box_acc(trial(steps(), (0, 0, 9, 9)), step=step)


def test_one_threshold_is_chosen_for_the_whole_data_set() -> None:
    values = np.array([[0.5, 0.2, 0.8, 0.1], [0.1, 0.6, 0.8, 0.3], [0.6, 0.7, 0.1, 0.3]])
    labels = ["a", "b", "a"]
    assert accuracy(values, labels) == pytest.approx(200 / 3)
    assert best_threshold(values, labels) == 0  # 0.5 itself is right, and of equals the lowest is taken
    assert best_threshold(values[1:], labels[1:]) == 0.25
    assert accuracy_by_threshold(values, labels) == pytest.approx(
        np.array([[0, 200 / 3], [0.25, 200 / 3], [0.5, 200 / 3], [0.75, 0]])
    )


def test_the_second_version_has_a_threshold_for_each_iou() -> None:
    values = np.array([[0.7, 0.3, 0.5], [0.2, 0.3, 0.5]])
    labels = ["a", "b"]
    assert accuracy_at_30(values, labels) == 100
    assert accuracy_at_70(values, labels) == 50
    assert accuracy_v2(values, labels) == pytest.approx((100 + 100 + 50) / 3)
