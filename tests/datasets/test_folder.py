"""The reader of plain folders."""

from pathlib import Path

import pytest
from folders import picture, text

from sightline.datasets import folder, open_data
from sightline.errors import DataError, PictureError
from sightline.trials import Known, Truth


def test_folders_are_classes(tmp_path: Path) -> None:
    for name in ("dog/b.jpg", "cat/a.png", "dog/a.jpg", "dog/.hidden.jpg"):
        picture(tmp_path / name)
    text(tmp_path / "dog/notes.txt", "")
    data = open_data(tmp_path)
    assert data.names == ("cat/a.png", "dog/a.jpg", "dog/b.jpg")
    assert (data.knows, data.problems, data.name) == ({Known.CLASSES}, (), str(tmp_path))
    assert data[1].truths == (Truth("dog"),)
    assert (data[1].name, data[1].picture.size) == ("dog/a.jpg", (20, 10))


def test_of_a_flat_folder_nothing_is_known(tmp_path: Path) -> None:
    picture(tmp_path / "b.jpg")
    picture(tmp_path / "a.JPG")
    data = open_data(tmp_path)
    assert (data.names, data.knows, data.problems) == (("a.JPG", "b.jpg"), frozenset(), ())
    assert data[0].truths == ()


def test_what_lies_elsewhere_is_named_and_left_out(tmp_path: Path) -> None:
    for name in ("dog/a.jpg", "b.jpg", "dog/more/c.jpg"):
        picture(tmp_path / name)
    data = folder(tmp_path)
    assert data.names == ("dog/a.jpg",)
    assert f"{tmp_path}/b.jpg is in no class's folder; expected {tmp_path}/CLASS/PICTURE" in data.problems
    assert any("dog/more/c.jpg lies deeper than a class's folder" in line for line in data.problems)
    assert len(data.problems) == 2


def test_splits(tmp_path: Path) -> None:
    for name in ("train/dog/a.jpg", "val/dog/b.jpg", "val/cat/c.jpg"):
        picture(tmp_path / name)
    data = open_data(tmp_path, split="val")
    assert (data.names, data.name) == (("cat/c.jpg", "dog/b.jpg"), f"{tmp_path} val")
    with pytest.raises(DataError, match="no pictures in folders of classes, only deeper; is one of train, val a split"):
        folder(tmp_path)
    with pytest.raises(DataError, match="test"):
        folder(tmp_path, split="test")


def test_a_broken_picture_is_named_when_it_is_read(tmp_path: Path) -> None:
    picture(tmp_path / "dog/a.jpg")
    text(tmp_path / "dog/b.jpg", "nothing")
    data = folder(tmp_path)
    with pytest.raises(PictureError, match=r"dog/b\.jpg"):
        data[1]
    assert data[0].truths == (Truth("dog"),)


def test_a_name_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    picture(tmp_path / "dog/a.jpg")
    (tmp_path / "dog/b\udcff.jpg").write_bytes((tmp_path / "dog/a.jpg").read_bytes())
    data = folder(tmp_path)
    assert data.names == ("dog/a.jpg",)
    (line,) = data.problems
    assert "has a name that is no UTF-8; rename it" in line
    line.encode()


def test_a_name_on_two_lines_is_told_on_one(tmp_path: Path) -> None:
    picture(tmp_path / "dog/a.jpg")
    picture(tmp_path / "b\nc.jpg")
    (line,) = folder(tmp_path).problems
    assert "\n" not in line


def test_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no picture"):
        folder(tmp_path)
    picture(tmp_path / ".a.jpg")
    with pytest.raises(DataError, match="fits no layout"):
        open_data(tmp_path)
    for nothing in (picture(tmp_path / "a.jpg"), tmp_path / "none"):
        with pytest.raises(DataError, match="is no folder; expected one with pictures"):
            folder(nothing)


def test_the_classes_of_real_pictures(data: Path) -> None:
    found = open_data(data / "imagenet_val_boxes/images")
    assert (len(found), found.knows, found.problems) == (400, {Known.CLASSES}, ())
    assert len({name.partition("/")[0] for name in found.names}) == 10
    assert len(open_data(data / "cifar10/test")) == 804
    assert (len(open_data(data / "images")), open_data(data / "images").knows) == (16, frozenset())
