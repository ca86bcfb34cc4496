"""Regions by hand: peak, mask, the largest component and the paper's box."""

from itertools import pairwise

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


@pytest.mark.parametrize("fraction", [15, -0.1])
def test_a_fraction_outside_zero_to_one_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        regions.mask(HEAT, fraction)


# Each convention has another component for the largest: a ring has 16 pixels, a polygon of 4 x 4 and a box of 5 x 5, a
# block 20, 4 x 3 and 5 x 4, a diagonal 6, 0 and 6 x 6.
THREE = np.array(
    [
        [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0],
        [1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
        [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1],
        [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
    ]
)


@pytest.mark.parametrize(
    ("largest", "box"), [("pixels", (0, 6, 5, 10)), ("contour", (0, 0, 5, 5)), ("rect", (6, 1, 12, 7))]
)
def test_what_is_largest_is_a_convention(largest: str, box: tuple[int, ...]) -> None:
    assert regions.box(THREE.astype(float), 0.15, largest) == box
    found = regions.largest_component(THREE > 0, largest)
    x0, y0, x1, y1 = box
    inside = np.zeros_like(found)
    inside[y0:y1, x0:x1] = True
    assert (found == ((THREE > 0) & inside)).all()


def test_by_pixels_it_is_the_first_of_equals_by_the_others_the_last() -> None:
    two = np.zeros((3, 9), dtype=bool)
    two[:, :3] = two[:, 5:8] = True
    firsts = {largest: regions.extent(regions.largest_component(two, largest)) for largest in regions.LARGEST}
    assert firsts == {"pixels": (0, 0, 3, 3), "contour": (5, 0, 8, 3), "rect": (5, 0, 8, 3)}


def test_what_lies_in_a_hole_counts_for_the_contour_around_it_but_is_not_in_its_component() -> None:
    region = np.zeros((9, 20), dtype=bool)
    region[0:9, 0:9] = True
    region[1:8, 1:8] = False
    region[3:6, 3:6] = True  # in the hole of the first
    region[1:8, 12:20] = True  # more pixels and 6 x 7 of area, less than 8 x 8
    found = regions.largest_component(region, "contour")
    assert found.sum() == 9 * 9 - 7 * 7
    assert not found[4, 4]
    assert regions.largest_component(region, "pixels")[4, 15]


def test_a_line_has_no_contour_area_so_the_last_of_lines_is_the_largest() -> None:
    lines = np.array([[1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 1, 1]]) > 0
    assert regions.extent(regions.largest_component(lines, "contour")) == (3, 3, 5, 4)
    assert regions.extent(regions.largest_component(lines, "rect")) == (0, 0, 5, 1)


def test_a_box_is_large_by_its_area_not_by_its_sides() -> None:
    region = np.zeros((6, 9), dtype=bool)
    region[:4, :3] = True
    region[5] = True
    assert regions.extent(regions.largest_component(region, "rect")) == (0, 0, 3, 4)


def test_squares_that_a_contour_cuts_count_half() -> None:
    region = np.zeros((5, 10), dtype=bool)
    region[:4, :4] = True  # nine squares
    region[:, 5:] = abs(np.arange(5) - 2)[:, None] + abs(np.arange(5) - 2) <= 2  # four, and eight halves
    assert regions.extent(regions.largest_component(region, "contour")) == (0, 0, 4, 4)
    region[3, 3] = False  # eight and a half of one
    assert regions.extent(regions.largest_component(region, "contour")) == (0, 0, 4, 4)
    region[3, 0] = False  # seven and two halves: as much as the other, which is met later
    assert regions.extent(regions.largest_component(region, "contour")) == (5, 0, 10, 5)


def test_no_region_and_one_component_are_as_they_are() -> None:
    for largest in regions.LARGEST:
        assert not regions.largest_component(np.zeros((2, 3), dtype=bool), largest).any()
        assert regions.largest_component(np.eye(3, dtype=bool), largest).sum() == 3


def test_another_convention_is_refused() -> None:
    with pytest.raises(ValueError, match="no convention 'area'.*pixels, contour, rect"):
        regions.largest_component(np.ones((1, 1), dtype=bool), "area")


def test_a_hole_is_cut_off_by_four_neighbours_and_never_touches_the_edge() -> None:
    region = np.array([[0, 1, 0, 1, 1], [1, 0, 1, 1, 0], [0, 1, 0, 1, 1]]) > 0
    labels, count = regions.holes(region)
    assert count == 1
    assert labels.tolist() == [[0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]


def traced_area(region: np.ndarray) -> float:
    """The polygon's area around one component by walking its outer border, its right hand on what is outside."""
    ring = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]
    inside = np.pad(region, 1)
    start = tuple(int(each) for each in np.argwhere(inside)[0])
    (y, x), came = start, 4
    points, first = [start], None
    for _ in range(8 * inside.size):
        turns = [(came + 1 + k) % 8 for k in range(8)]
        step = next((k for k in turns if inside[y + ring[k][0], x + ring[k][1]]), None)
        if step is None or ((y, x) == start and step == first):
            break
        first = step if first is None else first
        y, x, came = y + ring[step][0], x + ring[step][1], (step + 4) % 8
        points.append((y, x))
    return abs(sum(y0 * x1 - y1 * x0 for (y0, x0), (y1, x1) in pairwise(points))) / 2


@pytest.mark.parametrize("seed", range(40))
def test_the_contour_convention_is_the_area_of_the_traced_border(seed: int) -> None:
    draw = np.random.default_rng(seed)
    region = draw.random((7, 9)) < draw.uniform(0.2, 0.8)
    labels, count = regions.components(region)
    areas = [traced_area(labels == k + 1) for k in range(count)]
    best = max(k for k in range(count) if areas[k] == max(areas))
    assert (regions.largest_component(region, "contour") == (labels == best + 1)).all()


@pytest.mark.parametrize("seed", range(5))
def test_extents_are_each_labels_own_box(seed: int) -> None:
    region = np.random.default_rng(seed).random((11, 13)) < 0.3
    labels, count = regions.components(region)
    boxes = regions.extents(labels, count)
    assert [tuple(box) for box in boxes.tolist()] == [regions.extent(labels == k + 1) for k in range(count)]
    assert regions.extents(np.zeros((2, 2), dtype=np.int32), 0).shape == (0, 4)


def test_labels_are_in_reading_order_even_where_parts_join_late() -> None:
    region = np.array([[0, 0, 1, 0, 1], [1, 0, 0, 0, 1], [1, 0, 1, 1, 1]]) > 0
    assert regions.components(region)[0].tolist() == [[0, 0, 1, 0, 2], [3, 0, 0, 0, 2], [3, 0, 2, 2, 2]]


def test_iou_by_hand() -> None:
    boxes, others = [(1, 2, 5, 6), (0, 0, 2, 2)], [(3, 1, 4, 5), (0, 0, 2, 2), (10, 10, 11, 11)]
    assert regions.iou(boxes, others) == pytest.approx(np.array([[3 / 17, 0, 0], [0, 1, 0]]))
    assert regions.iou(boxes, others, inclusive=True)[0, 0] == pytest.approx(8 / 27)
    assert regions.iou([(0, 0, 10, 10)], [(0, 5, 10, 15)])[0, 0] == pytest.approx(1 / 3)
    assert regions.iou([(0, 0, 0, 0)], [(0, 0, 0, 0)], inclusive=True)[0, 0] == 1
    assert regions.iou([(0, 0, 0, 0)], [(0, 0, 0, 0)])[0, 0] == 0
    assert regions.iou([], [(0, 0, 1, 1)]).shape == (0, 1)


def test_exclusive_ends_give_what_inclusive_ones_with_one_more_give() -> None:
    assert regions.iou([(2, 3, 7, 9)], [(4, 4, 9, 8)]) == regions.iou([(2, 3, 6, 8)], [(4, 4, 8, 7)], inclusive=True)
