"""What each part gets of a map, and from which share on it is important."""

import numpy as np
import torch
from blocks import PARTS, Blocks, spread

from sightline.metrics.part_importance import THRESHOLDS, important, part_importance


def test_a_part_gets_its_pixels_and_two_around() -> None:
    parted = Blocks()
    ones = np.ones((8, 56), dtype=np.float32)
    assert part_importance(ones, parted, ["a", "x"]).tolist() == [36, 36]  # 2 x 2, and two more on each side
    for reach, got in ((2, 1), (3, 0)):
        for y, x in ((3 - reach, 3), (4 + reach, 3), (3, 3 - reach), (3, 4 + reach), (4 + reach, 4 + reach)):
            dot = np.zeros((8, 56), dtype=np.float32)
            dot[y, x] = 1
            assert part_importance(dot, parted, ["a"]).tolist() == [got]


def test_at_the_frame_the_window_ends() -> None:
    parted = Blocks()
    parted.parts = {"a": np.zeros((8, 56), dtype=bool)}
    parted.parts["a"][0, 0] = True
    assert part_importance(np.ones((8, 56)), parted, ["a"]).tolist() == [9]


def test_a_part_in_two_places_counts_a_pixel_near_both_once() -> None:
    parted = Blocks()
    parted.parts["a"][3, 7] = True  # its window meets the other's in two columns
    assert part_importance(np.ones((8, 56)), parted, ["a"]).tolist() == [36 + 5 * 5 - 2 * 5]


def test_only_what_is_above_zero_counts_unless_signed() -> None:
    heat = (spread(a=3, b=-2) + spread(b=5).roll(1, 1)).numpy()
    assert part_importance(heat, Blocks(), ["a", "b", "c"]).tolist() == [3, 5, 0]
    assert part_importance(heat, Blocks(), ["a", "b", "c"], signed=True).tolist() == [3, 3, 0]


def test_what_the_model_did_not_see_gives_nothing() -> None:
    heat = spread(a=3, b=1).numpy()
    heat[:, :8] = np.nan
    assert part_importance(heat, Blocks(), ["a", "b"]).tolist() == [0, 1]
    marked = important(heat, Blocks(), ["a", "b"])
    assert marked is not None
    assert marked.all(0).tolist() == [False, True]


def test_important_is_more_than_t_of_the_whole_map() -> None:
    assert (THRESHOLDS[0], THRESHOLDS[-1], len(THRESHOLDS)) == (0.01, 0.5, 80)
    marked = important(spread(a=50, b=30, c=1, d=0, x=19).numpy(), Blocks(), PARTS)
    assert marked is not None
    assert marked.shape == (80, 5)
    assert marked[-1].tolist() == [False] * 5  # a half isn't more than a half
    assert marked[0].tolist() == [True, True, False, False, False]  # nor is a hundredth
    assert marked[:, 1].sum() == (THRESHOLDS < 0.3).sum()


def test_a_map_without_evidence_says_nothing() -> None:
    assert important(np.zeros((8, 56)), Blocks(), PARTS) is None
    assert important(spread(a=-1).numpy(), Blocks(), PARTS) is None
    assert important(np.full((8, 56), np.nan), Blocks(), PARTS) is None


def test_of_a_negative_total_everything_is_more_which_is_refused() -> None:
    heat = spread(a=1, b=-3).numpy()
    given = part_importance(heat, Blocks(), PARTS, signed=True)
    assert (given > heat.sum() * 0.5).tolist() == [True, False, True, True, True]  # as the authors' code has it
    assert important(heat, Blocks(), PARTS, signed=True) is None
    positive = important(heat, Blocks(), PARTS)
    assert positive is not None
    assert positive[0].tolist() == [True, False, False, False, False]


def test_sums_are_taken_in_double_precision() -> None:
    heat = torch.full((8, 56), 1e-8)
    heat[3, 3] = 1
    assert part_importance(heat.numpy(), Blocks(), ["a"])[0] == np.float64(np.float32(1e-8)) * 35 + 1
