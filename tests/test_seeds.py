"""Seeds by hand and by IRN's own sum, and superpixels that snap them to a picture's edges."""

import sys

import numpy as np
import pytest
from PIL import Image

from sightline.errors import MethodError
from sightline.seeds import refined, seeds, winners

NAN = np.nan
DOG = np.array([[8.0, 4.0, 1.0, -3.0], [8.0, 2.0, 1.2, 1.3]])
CAT = np.array([[0.1, 0.2, 0.4, 0.0], [0.1, 0.1, 0.01, 0.4]])


def test_each_map_is_a_share_of_its_own_maximum_and_the_highest_has_the_pixel() -> None:
    assert seeds({"dog": DOG, "cat": CAT}).tolist() == [[1, 1, 2, 0], [1, 1, 0, 2]]  # 1.2 / 8 isn't above 0.15
    assert seeds({"cat": CAT, "dog": DOG}).tolist() == [[2, 1, 1, 0], [2, 1, 0, 1]]  # 2 / 8 and 0.1 / 0.4 tie


def test_the_score_must_exceed_the_background() -> None:
    one = np.array([[1.0, 0.5, 0.25, 0.0]])
    assert seeds({"a": one}, 0.25).tolist() == [[1, 1, 0, 0]]
    assert seeds({"a": one}, 0.0).tolist() == [[1, 1, 1, 0]]
    assert seeds({"a": one}, 1.0).tolist() == [[0, 0, 0, 0]]


def test_by_irns_sum() -> None:
    draw = np.random.default_rng(3)
    maps = draw.normal(size=(4, 9, 7)).clip(0)
    scores = maps / (maps.max((1, 2), keepdims=True) + 1e-5)
    theirs = np.pad(scores, ((1, 0), (0, 0), (0, 0)), constant_values=0.15).argmax(0)
    assert (seeds(dict(enumerate(maps))) == theirs).all()


def test_empty_and_unseen_mark_nothing() -> None:
    unseen = np.array([[NAN, 2.0], [NAN, -1.0]])
    assert seeds({"a": unseen, "b": np.zeros((2, 2))}).tolist() == [[0, 1], [0, 0]]
    assert not seeds({"a": np.full((2, 2), NAN)}, 0).any()
    assert not seeds({"a": np.full((2, 2), -1.0)}, 0).any()


def test_winners_are_places_and_shares() -> None:
    places, shares = winners({"dog": DOG, "cat": CAT})
    assert places.tolist() == [[1, 1, 2, 1], [1, 1, 1, 2]]
    assert shares == pytest.approx(np.array([[1, 0.5, 1, 0], [1, 0.25, 0.15, 1]]))


def test_no_maps_and_a_wrong_background_are_refused() -> None:
    with pytest.raises(ValueError, match="no maps"):
        seeds({})
    with pytest.raises(ValueError, match="between 0 and 1"):
        seeds({"a": DOG}, 15)
    with pytest.raises(ValueError, match=r"'mean'; choose one of scores, votes"):
        refined({"a": DOG}, Image.new("RGB", (4, 2)), by="mean")


@pytest.fixture
def halves() -> Image.Image:
    """Red on the left, blue on the right, 40 x 20."""
    pytest.importorskip("skimage")
    picture = Image.new("RGB", (40, 20), "red")
    picture.paste("blue", (20, 0, 40, 20))
    return picture


def test_refined_seeds_follow_the_pictures_edge(halves: Image.Image) -> None:
    heat = np.tile(np.linspace(1, -0.4, 40), (20, 1))  # above 0.15 up to column 23
    truth = np.zeros((20, 40), dtype=int)
    truth[:, :20] = 1
    assert (seeds({"a": heat}) != truth).sum() == 4 * 20
    for by in ("scores", "votes"):
        assert (refined({"a": heat}, halves, by=by, segments=2) == truth).all(), by


def test_by_votes_most_pixels_decide_and_by_scores_their_mean(halves: Image.Image) -> None:
    """A few high pixels of one class against many low ones of another."""
    few, many = np.zeros((20, 40)), np.zeros((20, 40))
    few[:8, :20] = 1.0  # a mean of 0.4
    many[8:, :20] = 0.2  # and of 0.12
    many[0, 39] = 1.0
    heats = {"few": few, "many": many}
    assert set(refined(heats, halves, 0.1, by="scores", segments=2)[:, :20].flat) == {1}
    assert set(refined(heats, halves, 0.1, by="votes", segments=2)[:, :20].flat) == {2}
    assert not refined(heats, halves, 0.1, by="scores", segments=2)[:, 20:].any()


def test_of_equal_votes_the_background_has_them(halves: Image.Image) -> None:
    heat = np.zeros((20, 40))
    heat[:10, :20] = 1
    assert not refined({"a": heat}, halves, by="votes", segments=2).any()
    heat[10, 0] = 1
    assert refined({"a": heat}, halves, by="votes", segments=2)[:, :20].all()


def test_unseen_pixels_count_neither_way_and_stay_background(halves: Image.Image) -> None:
    heat = np.zeros((20, 40))
    heat[:2, :20] = 1.0
    heat[2:18, :20] = NAN  # half of what is seen is 1, a tenth of all
    for by, background in (("scores", 0.4), ("votes", 0.4)):
        heat[18, 0] = 1.0
        found = refined({"a": heat}, halves, background, by=by, segments=2)
        assert found[:2, :20].all()
        assert found[18:, :20].all()
        assert not found[2:18].any()


def test_without_scikit_image_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with pytest.raises(MethodError, match=r"scikit-image.*pip install sightline\[superpixels\]"):
        refined({"a": DOG}, Image.new("RGB", (4, 2)))
