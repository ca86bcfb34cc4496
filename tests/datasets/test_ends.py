"""Boxes of annotations: conventions, scale, clipping and what is refused."""

import pytest

from sightline.datasets.boxes import Ends, box, by_label, number
from sightline.errors import DataError


@pytest.mark.parametrize(
    ("ends", "expected"),
    [(Ends.FROM_ONE, (2, 3, 7, 9)), (Ends.FROM_ZERO, (3, 4, 8, 10)), (Ends.EDGES, (3, 4, 7, 9))],
)
def test_what_the_numbers_count(ends: Ends, expected: tuple[float, ...]) -> None:
    assert box(("3", "4", "7", "9"), ends, (20, 10), "a.xml") == expected


@pytest.mark.parametrize(
    ("ends", "corners"),
    [(Ends.FROM_ONE, (1, 1, 20, 10)), (Ends.FROM_ZERO, (0, 0, 19, 9)), (Ends.EDGES, (0, 0, 20, 10))],
)
def test_the_whole_picture(ends: Ends, corners: tuple[int, ...]) -> None:
    assert box(corners, ends, (20, 10), "a.xml") == (0, 0, 20, 10)


def test_one_pixel_is_a_box() -> None:
    assert box((3, 4, 3, 4), Ends.FROM_ONE, (20, 10), "a.xml") == (2, 3, 3, 4)
    assert box((3, 4, 3, 4), Ends.FROM_ZERO, (20, 10), "a.xml") == (3, 4, 4, 5)


def test_what_the_numbers_count_is_scaled_after_the_last_pixel_is_added() -> None:
    assert box((1, 1, 3, 4), Ends.FROM_ZERO, (20, 10), "a.xml", (2, 0.5)) == (2, 0.5, 8, 2.5)


def test_what_sticks_out_is_cut() -> None:
    assert box((-5, -5, 25, 15), Ends.EDGES, (20, 10), "a.xml") == (0, 0, 20, 10)
    assert box((-5, 2, 4, 3), Ends.EDGES, (20, 10), "a.xml") == (0, 2, 4, 3)
    assert box((15, 5, 200, 100), Ends.EDGES, (20, 10), "a.xml", (0.5, 0.5)) == (7.5, 2.5, 20, 10)


@pytest.mark.parametrize("corners", [(5, 2, 5, 4), (5, 4, 7, 4), (6, 2, 5, 4), (5, 4, 7, 3)])
def test_an_inverted_box_is_refused(corners: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match=r"^a\.xml, dog has the box .* no width or no height; expected left, top"):
        box(corners, Ends.EDGES, (20, 10), "a.xml, dog")


@pytest.mark.parametrize("corners", [(20, 2, 25, 4), (-5, 2, 0, 4), (5, 10, 7, 12), (5, -3, 7, 0)])
def test_a_box_outside_is_refused(corners: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match=r"^a\.xml has the box .* outside the picture; expected one of its 20 x 10"):
        box(corners, Ends.EDGES, (20, 10), "a.xml")


@pytest.mark.parametrize("value", ["nan", "inf", "-Infinity", "", "x", None, True, [1], {}, float("nan"), 10**400])
def test_what_is_no_finite_number_is_refused(value: object) -> None:
    with pytest.raises(DataError, match=r"^a\.xml has .* where a finite number is expected; correct it$"):
        number(value, "a.xml")


def test_a_long_value_is_told_in_short() -> None:
    with pytest.raises(DataError) as told:
        number("x" * 5000, "a.xml")
    assert len(str(told.value)) < 200


def test_ends_are_named() -> None:
    assert Ends("from-one") is Ends.FROM_ONE
    with pytest.raises(DataError, match="boxes don't count 'inclusive'; expected one of from-one, from-zero, edges"):
        Ends("inclusive")


def test_truths_in_the_order_of_first_objects_with_difficult_boxes() -> None:
    b, c, d = (0.0, 0.0, 1.0, 1.0), (1.0, 1.0, 2.0, 2.0), (2.0, 2.0, 3.0, 3.0)
    found = by_label([("dog", b, True), ("cat", c, True), ("dog", d, False)])
    assert [(each.label, each.boxes, each.difficult) for each in found] == [
        ("dog", (b, d), False),
        ("cat", (c,), True),
    ]
    assert by_label([]) == ()
