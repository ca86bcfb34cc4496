"""The reader of masks beside pictures."""

from pathlib import Path

import numpy as np
import pytest
from folders import indices, picture, text

from sightline.datasets import masks, open_data
from sightline.errors import DataError
from sightline.trials import Known, Truth


def spotted(value: int = 255, other: int | None = None) -> np.ndarray:
    """Two spots that touch at a corner, and one apart."""
    rows = np.zeros((10, 20), dtype=np.uint8)
    rows[1:3, 2:5] = rows[3, 5] = value
    rows[7:9, 10:12] = value if other is None else other
    return rows


def flat(truth: Truth) -> tuple[str, int, int]:
    assert truth.mask is not None
    return truth.label, int(truth.mask.sum()), 0 if truth.ignore is None else int(truth.ignore.sum())


@pytest.mark.parametrize("value", [255, 1])
@pytest.mark.parametrize("mode", ["L", "P"])
def test_one_class_without_a_name(tmp_path: Path, value: int, mode: str) -> None:
    picture(tmp_path / "images/a.jpg")
    indices(tmp_path / "masks/a.png", spotted(value), mode)
    data = open_data(tmp_path)
    assert (data.names, data.knows, data.problems) == (("a",), {Known.BOXES, Known.MASKS}, ())
    (truth,) = data[0].truths
    assert flat(truth) == ("object", 11, 0)
    assert truth.mask is not None
    assert (truth.mask == (spotted() > 0)).all()
    assert truth.boxes == ((2, 1, 6, 4), (10, 7, 12, 9))


def test_255_is_ignored_beside_1(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    indices(tmp_path / "masks/a.png", spotted(1, 255))
    (truth,) = masks(tmp_path)[0].truths
    assert flat(truth) == ("object", 7, 4)
    assert truth.boxes == ((2, 1, 6, 4),)


def test_an_empty_mask_says_that_nothing_is_there(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    indices(tmp_path / "masks/a.png", spotted(0))
    assert masks(tmp_path)[0].truths == ()
    text(tmp_path / "classes.txt", "cat\ndog")
    assert masks(tmp_path)[0].truths == ()


@pytest.mark.parametrize("images", ["images/a.jpg", "images/cat/a.jpg"])
def test_folders_are_classes(tmp_path: Path, images: str) -> None:
    picture(tmp_path / images)
    below = images.removeprefix("images/").removesuffix("a.jpg")
    indices(tmp_path / "masks/cat/a.png", spotted())
    indices(tmp_path / f"masks/dog/{below}a.png", spotted(0, 1))
    data = masks(tmp_path)
    assert (data.names, data.problems) == ((f"{below}a",), ())
    assert [flat(truth) for truth in data[0].truths] == [("cat", 11, 0), ("dog", 4, 0)]


def test_names_of_indices(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    text(tmp_path / "classes.txt", "cat\ndog\nox")
    rows = spotted(3, 1)
    rows[0] = 255
    indices(tmp_path / "masks/a.png", rows)
    cat, ox = masks(tmp_path)[0].truths
    assert (flat(cat), flat(ox)) == (("cat", 4, 20), ("ox", 7, 20))
    assert (cat.boxes, ox.boxes) == (((10, 7, 12, 9),), ((2, 1, 6, 4),))


def test_with_names_folders_are_no_classes(tmp_path: Path) -> None:
    picture(tmp_path / "images/monday/a.jpg")
    picture(tmp_path / "images/b.jpg")
    text(tmp_path / "classes.txt", "cat\ndog")
    indices(tmp_path / "masks/monday/a.png", spotted(2))
    indices(tmp_path / "masks/monday/b.png", spotted(2))
    data = masks(tmp_path)
    assert [flat(truth) for truth in data[0].truths] == [("dog", 11, 0)]
    assert (data.names, len(data.problems)) == (("monday/a",), 2)


def test_one_name_and_black_and_white(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    text(tmp_path / "classes.txt", "cat")
    indices(tmp_path / "masks/a.png", spotted(), "L")
    assert [flat(truth) for truth in masks(tmp_path)[0].truths] == [("cat", 11, 0)]
    indices(tmp_path / "masks/a.png", np.full((10, 20), 255), "L")
    assert [flat(truth) for truth in masks(tmp_path)[0].truths] == [("cat", 200, 0)]


def test_black_and_white_is_none_of_several_names(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    text(tmp_path / "classes.txt", "cat\ndog")
    indices(tmp_path / "masks/a.png", spotted())
    with pytest.raises(DataError, match=r"masks/a\.png has only 0 and 255; expected indices of 2 classes"):
        masks(tmp_path)[0]


@pytest.mark.parametrize("value", [2, 254])
def test_an_index_without_a_name(tmp_path: Path, value: int) -> None:
    picture(tmp_path / "images/a.jpg")
    indices(tmp_path / "masks/a.png", spotted(1, value))
    with pytest.raises(DataError, match=rf"masks/a\.png has index {value}, and 1 classes have names"):
        masks(tmp_path)[0]


def test_a_mask_of_another_size(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg", (10, 10))
    indices(tmp_path / "masks/a.png", spotted())
    with pytest.raises(DataError, match=r"masks/a\.png has 20 x 10 pixels and its picture 10 x 10"):
        masks(tmp_path)[0]


def test_a_mask_that_is_no_png(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    picture(tmp_path / "masks/a.jpg")
    with pytest.raises(DataError, match=r"masks/a\.jpg can't be read .*; expected a PNG mask"):
        masks(tmp_path)[0]


def test_what_lacks_its_other_half_is_named_and_left_out(tmp_path: Path) -> None:
    for name in ("a", "b", "e"):
        picture(tmp_path / f"images/{name}.jpg")
    for name in ("a", "c", "dog/d"):
        indices(tmp_path / f"masks/{name}.png", spotted())
    indices(tmp_path / "masks/e.png", spotted())
    picture(tmp_path / "masks/e.jpg")
    data = masks(tmp_path)
    assert data.names == ("a",)
    told = [line.removeprefix(f"{tmp_path}/") for line in data.problems]
    assert told == [
        f"masks/e.jpg and {tmp_path}/masks/e.png are both 'e', so neither is read; rename one",
        f"masks/c.png is of no picture in {tmp_path}/images",
        f"masks/dog/d.png is of no picture in {tmp_path}/images",
        f"images/b.jpg has no mask in {tmp_path}/masks",
        f"images/e.jpg has no mask in {tmp_path}/masks",
    ]


def test_splits_with_names_beside_them(tmp_path: Path) -> None:
    picture(tmp_path / "val/images/a.jpg")
    indices(tmp_path / "val/masks/a.png", spotted(2))
    text(tmp_path / "classes.txt", "cat\ndog")
    data = open_data(tmp_path, split="val")
    assert data.name == f"{tmp_path} val"
    assert [flat(truth) for truth in data[0].truths] == [("dog", 11, 0)]
    text(tmp_path / "val/classes.txt", "ox\ncow")
    assert [flat(truth) for truth in masks(tmp_path, split="val")[0].truths] == [("cow", 11, 0)]


def test_nothing_that_fits(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.jpg")
    indices(tmp_path / "masks/b.png", spotted())
    with pytest.raises(DataError, match=r"no picture that can be judged: .*b\.png is of no picture"):
        masks(tmp_path)


def test_coco_sample_as_masks(data: Path, tmp_path: Path) -> None:
    """The masks that the reader of VOC reads, by another way."""
    for link, target in (("images", "JPEGImages"), ("masks", "SegmentationClass"), ("classes.json", "classes.json")):
        (tmp_path / link).symlink_to(data / "coco_sample" / target)
    found, same = open_data(tmp_path, layout="masks"), open_data(data / "coco_sample")
    assert (found.names, found.problems) == (same.names, ())
    for place in range(0, len(found), 30):
        here = {truth.label: truth for truth in found[place].truths}
        there = {truth.label: truth for truth in same[place].truths}
        assert here.keys() == there.keys()
        for label, truth in here.items():
            assert truth.mask is not None
            assert (truth.mask == there[label].mask).all()
            assert np.array_equal(truth.ignore, there[label].ignore)
