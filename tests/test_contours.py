"""The WSOL evaluation's boxes: its published vectors, OpenCV where it is installed, and each convention by hand."""

import time

import numpy as np
import pytest
import torch

from sightline import contours
from sightline.geometry import Framing
from sightline.regions import iou

NAN = np.nan
ONE_MODE = np.array([[0, 0, 0, 0, 0], [0, 0.4, 0.4, 0.4, 0.6], [0, 0.4, 1, 0.8, 0.6], [0, 0.4, 0.4, 0.4, 0.6]])
MODES = np.array([[0.4, 0, 0.2, 0.2, 0.2], [0.4, 0.4, 0, 0.4, 0], [0, 0, 0, 0.4, 0], [1, 0.6, 0.8, 0.2, 0.2]])
PUBLISHED = [
    (ONE_MODE, 0, (1, 1, 4, 3)),
    (ONE_MODE, 1, (1, 1, 4, 3)),
    (ONE_MODE, 2, (2, 1, 4, 3)),
    (ONE_MODE, 3, (2, 2, 4, 3)),
    (ONE_MODE, 4, (2, 2, 3, 3)),
    (MODES, 0, (0, 0, 4, 3)),
    (MODES, 1, (0, 0, 2, 2)),
    (MODES, 2, (0, 3, 3, 3)),
    (MODES, 3, (2, 3, 3, 3)),
    (MODES, 4, (0, 3, 1, 3)),
]
THRESHOLDS = np.arange(0, 1, 0.2)


@pytest.mark.parametrize(("scores", "place", "box"), PUBLISHED, ids=range(10))
def test_the_ten_published_boxes(scores: np.ndarray, place: int, box: tuple[int, ...]) -> None:
    found = contours.boxes(scores, THRESHOLDS)[place]
    assert found.tolist() == [list(box)]
    assert contours.boxes(scores, THRESHOLDS[[place]])[0].tolist() == found.tolist()


def test_nothing_has_the_box_of_zeros_and_nan_is_refused() -> None:
    for every in (False, True):
        found = contours.boxes(np.zeros((3, 3)), THRESHOLDS, every=every)
        assert [each.tolist() for each in found] == [[[0, 0, 0, 0]]] * 5
    for wrong in (NAN, -0.1, 1.1):
        with pytest.raises(ValueError, match="expected 0 to 1"):
            contours.boxes(np.full((3, 3), wrong), THRESHOLDS)


def test_the_published_overlap_counts_both_ends() -> None:
    assert iou([(1, 2, 5, 6)], [(3, 1, 4, 5)], inclusive=True)[0, 0] == pytest.approx(8 / 27)


def test_levels_are_rounded_down_before_they_are_cut_and_the_cut_is_strict() -> None:
    scores = np.array([[1.0, 0.0, 0.503, 0.0, 0.0]])  # 128.265, so level 128
    above = contours.boxes(scores, [0.5, 0.503, 0.506], every=True)  # 127, 128, 129 of 255
    assert [sorted(each.tolist()) for each in above] == [[[0, 0, 1, 0], [2, 0, 3, 0]], [[0, 0, 1, 0]], [[0, 0, 1, 0]]]
    halved = contours.boxes(scores / 2, [0.5, 0.51], every=True)  # level 64 above 63 and 64, of 127
    assert [len(each) for each in halved] == [2, 1]


def test_a_box_ends_a_pixel_late_but_at_the_edge() -> None:
    scores = np.zeros((6, 8))
    scores[1:3, 2:5] = 1
    assert contours.boxes(scores, [0]) == [pytest.approx(np.array([[2, 1, 5, 3]]))]
    assert contours.boxes(scores[:3, :5], [0]) == [pytest.approx(np.array([[2, 1, 4, 2]]))]


def test_every_contour_is_each_component_and_each_hole() -> None:
    scores = np.zeros((9, 12))
    scores[1:7, 1:7] = 1
    scores[3:5, 3:6] = 0
    scores[8, 10] = 1
    found = contours.boxes(scores, [0.5], every=True)[0]
    assert sorted(found.tolist()) == [[1, 1, 7, 7], [2, 2, 7, 6], [10, 8, 11, 8]]


def of_opencv(region: np.ndarray, every: bool) -> list[list[int]]:
    cv2 = pytest.importorskip("cv2")
    found = cv2.findContours(region.astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
    height, width = region.shape
    chosen = found if every else [max(found, key=cv2.contourArea)]
    rects = [cv2.boundingRect(contour) for contour in chosen]
    return sorted([x, y, min(x + w, width - 1), min(y + h, height - 1)] for x, y, w, h in rects)


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("every", [False, True], ids=["largest", "every"])
def test_boxes_are_opencvs(seed: int, every: bool) -> None:
    draw = np.random.default_rng(seed)
    region = draw.random(draw.integers(1, 16, 2)) < draw.uniform(0.1, 0.95)
    region.flat[0] = True
    found = contours.boxes(region.astype(float), [0.5], every=every)[0]
    assert sorted(found.tolist()) == of_opencv(region, every)


@pytest.mark.parametrize("shape", [(7, 7), (14, 10), (1, 1), (300, 260)])
def test_the_square_is_opencvs_cubic(shape: tuple[int, int]) -> None:
    cv2 = pytest.importorskip("cv2")
    raw = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    found = contours.square(raw, Framing.whole((640, 427)))
    assert found.shape == (224, 224)
    assert found == pytest.approx(cv2.resize(raw.numpy(), (224, 224), interpolation=cv2.INTER_CUBIC), abs=5e-5)


def test_where_the_model_sees_a_part_the_map_lies_there_and_the_rest_is_unseen() -> None:
    framing = Framing.cropped((448, 224), (448, 224), (112, 0), (224, 224))  # the middle half
    raw = torch.arange(4.0).expand(4, 4)
    found = contours.square(raw, framing)
    assert np.isnan(found[:, :56]).all()
    assert np.isnan(found[:, 168:]).all()
    middle = found[:, 56:168]
    assert not np.isnan(middle).any()
    assert middle == pytest.approx(contours.square(raw, Framing.whole((2, 2)), 224)[:, ::2], abs=0.05)
    assert (np.diff(middle[0][9:-9]) > 0).all()


def test_a_part_of_another_shape_is_the_same_map_resized_to_it() -> None:
    framing = Framing.cropped((448, 224), (448, 224), (112, 0), (112, 224))  # 56 x 224 of the square
    raw = torch.rand(5, 3, generator=torch.Generator().manual_seed(2))
    expected = torch.nn.functional.interpolate(raw[None, None], (224, 56), mode="bicubic")[0, 0].numpy()
    assert contours.square(raw, framing)[:, 56:112] == pytest.approx(expected, abs=1e-5)


def test_a_part_smaller_than_a_pixel_is_still_a_map() -> None:
    framing = Framing.cropped((4000, 4000), (4000, 4000), (0, 0), (8, 8))
    assert contours.square(torch.ones(2, 2), framing).shape == (224, 224)


def test_stretching_spans_zero_to_one_passing_over_what_is_unseen() -> None:
    heat = np.array([[-2.0, NAN, 0.0], [2.0, 1.0, -1.0]])
    assert contours.stretched(heat) == pytest.approx(np.array([[0, 0, 0.5], [1, 0.75, 0.25]]))
    assert np.isnan(heat[0, 1])


@pytest.mark.parametrize("value", [0.0, 3.0, NAN])
def test_an_even_map_is_stretched_to_nothing(value: float) -> None:
    assert (contours.stretched(np.full((2, 3), value)) == 0).all()


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-20, 7e8])
def test_an_even_map_stays_even_through_interpolation(value: float) -> None:
    for seen in (Framing.whole((640, 427)), Framing.cropped((640, 427), (343, 229), (60, 3), (224, 224))):
        assert (contours.stretched(contours.square(torch.full((13, 13), value), seen)) == 0).all()


def test_tiny_values_are_stretched_too() -> None:
    found = contours.stretched(np.array([[1e-30, 3e-30, 2e-30]], dtype=np.float32))
    assert found == pytest.approx(np.array([[0, 1, 0.5]]))


def test_a_true_box_is_its_first_and_last_pixel_rounded_down_in_the_square() -> None:
    assert contours.truth_box((111, 108, 442, 194), (500, 375)) == (49, 64, 197, 115)
    assert contours.truth_box((0, 0, 500, 375), (500, 375)) == (0, 0, 223, 223)
    assert contours.truth_box((78.4, 109.91, 223.55, 203.69), (224, 224)) == (78, 109, 223, 203)
    assert contours.truth_box((1, 2, 5, 4), (10, 20), side=10) == (1, 1, 4, 1)


def test_a_hundred_thresholds_are_quick() -> None:
    """The bar is 50 ms; here with room for a busy machine."""
    rows, columns = np.mgrid[:224, :224]
    bumps = [np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 1500) for y, x in ((60, 60), (160, 150), (40, 190))]
    scores = contours.stretched(sum(bumps))
    took = []
    for _ in range(3):
        began = time.process_time()
        contours.boxes(scores, np.arange(0, 1, 0.01))
        took.append(time.process_time() - began)
    assert min(took) < 0.15
