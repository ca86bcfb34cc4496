"""Framing: maps and points go to the picture's pixels and back, checked against interpolation and by hand."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from sightline.geometry import Framing
from sightline.preprocess import Preprocess

SIZES = st.integers(1, 60)


@given(SIZES, SIZES, st.integers(1, 9), st.integers(1, 9))
def test_a_whole_picture_is_plain_bilinear_interpolation(width: int, height: int, h: int, w: int) -> None:
    maps = torch.randn(2, h, w)
    found = Framing.whole((width, height)).to_picture(maps)
    assert_close(found, F.interpolate(maps[None], (height, width), mode="bilinear", align_corners=False)[0])


def test_a_centre_crop_is_the_interpolated_image_put_where_it_was_cut() -> None:
    framing = Preprocess(size=(224, 224), resize=224).framing((448, 224))  # the middle half, unscaled
    assert framing.seen == (112, 0, 336, 224)
    maps = torch.randn(1, 7, 7)
    found = framing.to_picture(maps)[0]
    inside = F.interpolate(maps[None], (224, 224), mode="bilinear", align_corners=False)[0, 0]
    assert_close(found[:, 112:336], inside)
    assert found[:, :112].isnan().all()
    assert found[:, 336:].isnan().all()


def test_padding_reaches_outside_the_picture_and_shows_no_nan_inside() -> None:
    framing = Preprocess(size=(100, 100), fit="pad").framing((200, 100))
    assert framing.seen == (0, -50, 200, 150)
    found = framing.to_picture(torch.arange(4.0).view(1, 4, 1))[0]
    assert found.shape == (100, 200)
    assert not found.isnan().any()
    assert_close(found[:, 0], found[:, 199])
    # row 49.5 is the image's middle, between cells 1 and 2
    assert_close(found[49:51, 0].mean(), torch.tensor(1.5))


@given(SIZES, SIZES, st.sampled_from(["crop", "squash", "pad"]), st.floats(0, 60), st.floats(0, 60))
def test_points_go_there_and_back(width: int, height: int, fit: str, x: float, y: float) -> None:
    framing = Preprocess(size=(30, 40), resize=36, fit=fit).framing((width, height))
    back = framing.point_in_picture(*framing.point_in_image(x, y))
    assert back == pytest.approx((x, y), abs=1e-6)


def test_a_lit_cell_lands_on_the_pixels_it_was_computed_from() -> None:
    framing = Preprocess(size=(224, 224), resize=256).framing((640, 480))
    maps = torch.zeros(1, 7, 7)
    maps[0, 2, 5] = 1
    found = framing.to_picture(maps)[0].nan_to_num(-1)
    y, x = divmod(int(found.argmax()), 640)
    expected = framing.point_in_picture((5 + 0.5) * 32, (2 + 0.5) * 32)
    assert abs(x + 0.5 - expected[0]) <= 1
    assert abs(y + 0.5 - expected[1]) <= 1


def test_a_mask_of_the_picture_is_the_images_own_pixels_after_a_crop_and_empty_in_padding() -> None:
    mask = torch.rand(8, 12) > 0.5
    cropped = Framing.cropped((12, 8), (12, 8), (3, 1), (6, 5))
    assert torch.equal(cropped.to_image(mask), mask[1:6, 3:9])
    padded = Framing.cropped((12, 8), (12, 8), (-2, -1), (16, 10))
    found = padded.to_image(torch.ones(8, 12, dtype=torch.bool))
    assert torch.equal(found.nonzero().min(0).values, torch.tensor([1, 2]))
    assert found.sum() == 8 * 12
    doubled = Framing.whole((12, 8), (24, 16))
    assert torch.equal(doubled.to_image(mask), mask.repeat_interleave(2, 0).repeat_interleave(2, 1))
