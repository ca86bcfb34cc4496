"""Painting: exact covers, masks that are what a thing changes, and chance that depends on nothing but its key."""

import numpy as np
import pytest
from PIL import Image

from sightline.datasets.painting import (
    CONTRAST,
    FINER,
    Painting,
    Thing,
    colour,
    cover,
    dice,
    ground,
    marked,
    placed,
    spokes,
)

WHITE, BLACK = np.ones(3, np.float32), np.zeros(3, np.float32)


def rectangle(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def inside(x: float, y: float, outlines: list[list[tuple[float, float]]]) -> bool:
    """Even-odd, by a ray to the left."""
    crossed = 0
    for outline in outlines:
        for (ax, ay), (bx, by) in zip(outline, [*outline[1:], outline[0]]):
            if (ay <= y) != (by <= y) and ax + (y - ay) / (by - ay) * (bx - ax) < x:
                crossed += 1
    return crossed % 2 == 1


def test_dice_depend_on_the_whole_key_and_on_nothing_else() -> None:
    first = dice("shapes", "test", 0, 7).random(3)
    dice("other").random(5)
    assert (dice("shapes", "test", 0, 7).random(3) == first).all()
    keys = [("shapes", "test", 0, 7), ("shapes", "test", 7, 0), ("shapes", "train", 0, 7), ("shapes", "test", 0, "7"),
            ("a", "bc"), ("ab", "c"), ("abc",), (1, 23), (12, 3)]  # fmt: skip
    assert len({dice(*key).integers(2**62) for key in keys}) == len(keys)


def test_a_rectangle_covers_its_pixels_and_half_of_those_that_it_halves() -> None:
    whole = np.zeros((8, 8))
    whole[2:6, 1:4] = 1
    assert (cover(8, rectangle(1, 2, 4, 6)) == whole).all()
    shifted = cover(8, rectangle(1.5, 2, 4.5, 6))
    assert (shifted[3] == [0, 0.5, 1, 1, 0.5, 0, 0, 0]).all()
    assert (cover(8, rectangle(1, 2.25, 4, 6))[2, 1:4] == 0.75).all()


def test_an_outline_in_another_is_a_hole_and_what_is_outside_the_picture_is_cut() -> None:
    framed = cover(8, rectangle(1, 1, 7, 7), rectangle(3, 3, 5, 5))
    expected = np.zeros((8, 8))
    expected[1:7, 1:7] = 1
    expected[3:5, 3:5] = 0
    assert (framed == expected).all()
    assert (cover(4, rectangle(-5, -5, 2, 9)) == [[1, 1, 0, 0]] * 4).all()
    assert not cover(4, rectangle(5, 5, 9, 9)).any()


@pytest.mark.parametrize("seed", range(4))
def test_cover_equals_points_counted_one_by_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    star = spokes(*random.uniform(0.3, 1, 7))
    outlines = [placed(star, tuple(random.uniform(3, 7, 2)), 4.0, 1.3), placed(star, (5, 5), 1.5, 0.2)]
    found = cover(10, *outlines)
    for y in range(10):
        for x in range(10):
            points = [((x + (i + 0.5) / FINER), (y + (j + 0.5) / FINER)) for i in range(FINER) for j in range(FINER)]
            assert found[y, x] == sum(inside(*point, outlines) for point in points) / FINER**2


def test_a_polygons_corners_and_the_way_it_turns() -> None:
    """Clockwise from the top, with y down; turning is clockwise too."""
    assert np.allclose(spokes(1, 2, 1, 1), [(0, -1), (2, 0), (0, 1), (-1, 0)])
    assert np.allclose(placed([(0, -1), (1, 0)], (10, 20), 3, np.pi / 2), [(13, 20), (10, 23)])
    area = cover(64, placed(spokes(*[1] * 48), (32, 32), 20)).sum()
    assert area == pytest.approx(np.pi * 20**2, rel=0.005)


def test_later_things_lie_over_earlier_ones_by_their_cover() -> None:
    low = Thing("low", np.array([[1, 0.5, 0]], np.float32), WHITE)
    high = Thing("high", np.array([[0, 0.5, 1]], np.float32), BLACK)
    painting = Painting(np.full((1, 3, 3), 0.6, np.float32), (low, high))
    assert np.allclose(painting.pixels()[0, :, 0], [1, 0.5 * (0.5 * 0.6 + 0.5), 0])
    assert np.allclose(painting.pixels(["low"])[0, :, 0], [0.6, 0.3, 0])
    assert np.allclose(painting.pixels(["high", "low"]), 0.6)
    assert (np.asarray(painting.picture())[0, :, 0] == [255, 102, 0]).all()
    assert (np.asarray(Painting(np.full((1, 1, 3), 0.999, np.float32)).picture()) == 255).all()  # rounded, not cut


def test_a_mask_is_what_would_be_different_without_the_thing() -> None:
    """What lies under another, and what has the colour of what is under it, changes nothing; half a pixel does."""
    under = Thing("under", np.array([[1, 1, 0.5, 0, 0]], np.float32), WHITE)
    over = Thing("over", np.array([[0, 1, 0.5, 1, 0]], np.float32), BLACK)
    floor = np.zeros((1, 5, 3), np.float32)
    floor[0, 4] = 1
    painting = Painting(floor, (under, over))
    assert (painting.mask("under") == [[True, False, True, False, False]]).all()
    assert (painting.mask("over") == [[False, True, True, False, False]]).all()  # black on black is not seen
    truth = painting.truth("under", "cat")
    assert (truth.label, truth.boxes) == ("cat", ((0.0, 0.0, 3.0, 1.0),))
    assert truth.mask is not None
    assert (truth.mask == painting.mask("under")).all()


def test_one_colour_that_differs_is_enough() -> None:
    red = Thing("red", np.ones((1, 1), np.float32), np.array([0.5, 0, 0], np.float32))
    assert Painting(np.zeros((1, 1, 3), np.float32), (red,)).mask("red").all()


def test_the_box_is_around_the_mask_with_its_ends_exclusive() -> None:
    mask = np.zeros((6, 9), bool)
    mask[2, 3], mask[4, 7] = True, True
    assert marked("cat", mask).boxes == ((3.0, 2.0, 8.0, 5.0),)
    empty = marked("cat", np.zeros((6, 9), bool))
    assert empty.boxes == ()
    assert empty.mask is not None


@pytest.mark.parametrize("seed", range(20))
def test_a_colour_stands_out_from_every_pixel_under_it(seed: int) -> None:
    random = dice("colour", seed)
    floor, over = ground(random, 48), cover(48, rectangle(10.5, 8, 30, 25.5))
    found = colour(random, floor, over)
    assert np.abs(floor[over > 0] - found).max(1).min() >= CONTRAST
    assert ((found >= 0) & (found <= 1)).all()


def test_the_first_colour_that_stands_out_is_taken_soft_pixels_counted() -> None:
    """Of each draw what counts is the colour that differs most, at the pixel where it differs least."""
    floor = np.random.default_rng(23).random((1, 3, 3))
    over = np.array([[1, 1, 0.1]])
    drawn = np.random.default_rng(8).random((128, 3)).astype(np.float32)
    contrast = np.abs(drawn[:, None] - floor[0]).max(2).min(1)
    first = int(np.argmax(contrast >= 0.5))
    assert 0 < first != int(np.argmax(np.abs(drawn[:, None] - floor[0, :2]).max(2).min(1) >= 0.5))
    assert np.allclose(colour(np.random.default_rng(8), floor, over, 0.5), drawn[first])


def test_where_no_colour_can_stand_out_the_one_that_most_does_is_taken() -> None:
    levels = np.stack(np.meshgrid(*[np.linspace(0, 1, 10)] * 3), -1).reshape(1, -1, 3)  # every colour is near one
    everywhere = np.ones(levels.shape[:2])
    drawn = np.random.default_rng(3).random((128, 3)).astype(np.float32)
    contrast = [np.abs(levels[0] - each).max(1).min() for each in drawn]
    assert max(contrast) < CONTRAST
    assert np.allclose(colour(np.random.default_rng(3), levels, everywhere), drawn[int(np.argmax(contrast))])


def test_grounds_are_colours_that_vary_slowly_and_differ_from_seed_to_seed() -> None:
    floors = [ground(dice("ground", seed), 64) for seed in range(20)]
    assert all(floor.shape == (64, 64, 3) and floor.min() >= 0 and floor.max() <= 1 for floor in floors)
    assert np.mean([floor.std((0, 1)).max() for floor in floors]) > 0.08
    assert np.mean([((floor == 0) | (floor == 1)).mean() for floor in floors]) < 0.01  # colours are mixed, not added
    steps = [np.abs(np.diff(floor, axis=0)).mean() / floor.std() for floor in floors]
    assert np.mean(steps) < 0.2
    halved = [np.asarray(Image.fromarray(floor.mean(2)).resize((32, 32), Image.Resampling.BOX)) for floor in floors]
    assert np.mean([np.abs(np.diff(each, axis=0)).mean() / each.std() for each in halved]) < 0.42  # coarse before fine
    assert not np.allclose(floors[0], floors[1])
