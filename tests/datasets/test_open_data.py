"""The table of data sets, and how a layout is found."""

import pickle
import tarfile
from pathlib import Path
from typing import Any

import pytest
from folders import annotation, indices, picture, table, text

import sightline.datasets as datasets
from sightline.datasets import DATASETS, Listed, Source, open_data
from sightline.errors import DataError
from sightline.trials import Known, Sample

LAYOUTS = ["voc", "imagenet", "boxes-csv", "coco", "masks", "manifest", "shards", "folder"]


def made(root: Path, layout: str) -> Path:
    """The least that has a layout, with one picture a.jpg."""
    if layout == "voc":
        picture(root / "JPEGImages/a.jpg")
        annotation(root / "Annotations/a.xml")
    elif layout == "imagenet":
        picture(root / "val/n00000001_1.jpg")
        annotation(root / "Annotations/n00000001_1.xml")
    elif layout == "boxes-csv":
        picture(root / "a.jpg")
        text(root / "boxes.csv", "file,label,x0,y0,x1,y1\na.jpg,dog,1,1,2,2")
    elif layout == "coco":
        picture(root / "val/a.jpg")
        images = [{"id": 1, "file_name": "a.jpg", "width": 20, "height": 10}]
        table(root / "annotations/instances_val.json", {"images": images, "annotations": [], "categories": []})
    elif layout == "masks":
        picture(root / "images/a.jpg")
        indices(root / "masks/a.png", [[0] * 20] * 10)
    elif layout == "manifest":
        picture(root / "a.jpg")
        return text(root / "list.csv", "path\na.jpg")
    elif layout == "shards":
        with tarfile.open(root / "all.tar", "w") as tar:
            tar.add(picture(root / "a.jpg"), "a.jpg")
        (root / "a.jpg").unlink()
    else:
        picture(root / "a.jpg")
    return root


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_found(tmp_path: Path, layout: str) -> None:
    path = made(tmp_path, layout)
    found = open_data(path)
    named = open_data(str(path), layout=layout.upper().replace("-", "_"))
    (row,) = [row for row in DATASETS if row.name == layout]
    assert isinstance(row.open, type(open_data))
    direct = row.open(path)
    assert found.names == named.names == direct.names
    assert found.name == named.name == direct.name == str(path)
    assert (found.knows, len(found), found[0].picture.size) == (direct.knows, 1, (20, 10))
    assert isinstance(found, Listed)
    assert pickle.loads(pickle.dumps(found))[0].name == found.names[0]  # so that processes may share it


def test_every_row_is_one_of_a_kind() -> None:
    assert [row.name for row in DATASETS if row.fits] == LAYOUTS
    assert len({row.name for row in DATASETS}) == len(DATASETS)
    assert all(row.says for row in DATASETS)


@pytest.mark.parametrize("row", [row for row in DATASETS if row.fits is None], ids=lambda row: row.name)
def test_generated_rows_open(row: Source) -> None:
    found = open_data(f"scenes:{row.name}:count=3")
    assert len(found) == 3
    assert len(set(found.names)) == 3
    assert found.knows
    assert isinstance(found[0], Sample)


def test_two_layouts_are_not_chosen_between(tmp_path: Path) -> None:
    made(tmp_path, "voc")
    made(tmp_path, "coco")
    with pytest.raises(DataError, match=r"fits more than one layout of: voc \(Anno.*, coco \(.*; name one with layout"):
        open_data(tmp_path)
    assert open_data(tmp_path, layout="voc").knows == {Known.BOXES}
    assert open_data(tmp_path, layout="coco").names == ("a.jpg",)
    assert open_data(tmp_path, layout="folder", split="val").names == ("a.jpg",)


def test_no_layout_lists_what_was_looked_for(tmp_path: Path) -> None:
    text(tmp_path / "notes.txt", "")
    with pytest.raises(DataError, match="fits no layout of: ") as error:
        open_data(tmp_path)
    for row in DATASETS:
        assert (f"{row.name} ({row.says})" in str(error.value)) == (row.fits is not None)
    assert "\n" not in str(error.value)


def test_a_layout_may_be_that_of_the_splits_folder(tmp_path: Path) -> None:
    made(tmp_path / "val", "masks")
    assert open_data(tmp_path, split="val").names == ("a",)
    with pytest.raises(DataError, match="fits no layout"):
        open_data(tmp_path, split="train")


def test_annotations_of_nobody_known_are_no_layout(tmp_path: Path) -> None:
    annotation(tmp_path / "Annotations/a.xml")
    with pytest.raises(DataError, match="fits no layout"):
        open_data(tmp_path)


@pytest.mark.parametrize("what", ["nothing", "a\0b", "x" * 5000, "shapes", ""])
def test_what_is_not_there(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError):
        open_data(what)


def test_what_is_not_there_is_told_with_what_could_be() -> None:
    with pytest.raises(
        DataError, match=r"nothing can't be opened .*; expected a folder, a table, FILE\.tar, or scenes:NAME"
    ):
        open_data("nothing")


@pytest.mark.parametrize(
    ("what", "given", "told"),
    [
        ("", {"layout": "cooc"}, "no layout 'cooc'; nearest: 'coco', 'voc'"),
        ("", {"layout": "shapes"}, "no layout 'shapes'"),
        ("", {"layout": "voc:mask=True"}, "voc has no option 'mask'; its options: ends=from-one, masks=None"),
        ("", {"layout": "voc:split=val"}, "voc has no option 'split'"),
        ("", {"layout": "voc:ends=inclusive"}, "boxes don't count 'inclusive'; expected one of from-one, "),
        ("", {"layout": "voc:ends"}, "option 'ends' of voc can't be read"),
        ("scenes:spheres", {}, "no generated data set 'spheres'; nearest: 'shapes'"),
        ("scenes:voc", {}, "no generated data set 'voc'"),
        ("scenes:shapes:conut=3", {}, "shapes has no option 'conut'; its options: count="),
        ("scenes:shapes:count=many", {}, "shapes:count=many can't be made of count=many, "),
        ("scenes:shapes", {"layout": "voc"}, "scenes:shapes is generated and has no layout 'voc'; leave it out"),
    ],
)
def test_what_is_misspelt(tmp_path: Path, what: str, given: Any, told: str) -> None:
    made(tmp_path, "voc")
    with pytest.raises(DataError) as error:
        open_data(what or tmp_path, **given)
    assert told in str(error.value)


def test_generated_sets_are_imported_when_they_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def dots(*, count: int = 3, split: str = "test") -> Any:
        asked.append((count, split))
        return asked

    monkeypatch.setattr(datasets, "_SCENES", (Source("dots", "sightline.datasets.nowhere:dots", "dots"),))
    with pytest.raises(ModuleNotFoundError):
        open_data("scenes:dots")
    monkeypatch.setattr(datasets, "_SCENES", (Source("dots", dots, "dots"),))
    open_data("scenes:dots:count=7")
    open_data("scenes:Dots", split="val")
    assert asked == [(7, "test"), (3, "val")]


def test_options_are_in_the_name(tmp_path: Path) -> None:
    made(tmp_path, "voc")
    text(tmp_path / "ImageSets/val.txt", "a")
    found = open_data(tmp_path, layout="voc:masks=False:ends=edges", split="val")
    assert found.name == f"{tmp_path} val voc:masks=False:ends=edges"
