"""The reader of tables of boxes."""

import csv
from pathlib import Path

import pytest
from folders import picture, text

from sightline.datasets import boxes_csv, open_data
from sightline.errors import DataError, PictureError
from sightline.trials import Known

HEADER = "file,label,x0,y0,x1,y1"
WHOLE = "file,wnid,orig_width,orig_height,orig_x0,orig_y0,orig_x1,orig_y1,x0,y0,x1,y1"


def written(root: Path, *lines: str, header: str = HEADER) -> Path:
    picture(root / "a.jpg")
    picture(root / "b/c.jpg")
    return text(root / "boxes.csv", "\n".join((header, *lines, "")))


def test_a_line_a_box(tmp_path: Path) -> None:
    written(tmp_path, "b/c.jpg,dog,3,4,7,9", "a.jpg,cat,1.5,2,3,4", "b/c.jpg,dog,-3,0,5,50", "", "b/c.jpg,cat,0,0,1,1")
    data = open_data(tmp_path)
    assert (data.names, data.knows, data.problems) == (("b/c.jpg", "a.jpg"), {Known.BOXES}, ())
    assert [(each.label, each.boxes) for each in data[0].truths] == [
        ("dog", ((3, 4, 7, 9), (0, 0, 5, 10))),
        ("cat", ((0, 0, 1, 1),)),
    ]
    assert (data[1].truths[0].boxes, data[1].name, data[1].picture.size) == (((1.5, 2, 3, 4),), "a.jpg", (20, 10))


def test_other_names_of_columns_in_any_order(tmp_path: Path) -> None:
    written(tmp_path, "9, 7, 4, 3, x, n123, a.jpg", header="\ufeffy1,x1,y0, x0 ,more,wnid,image")
    (truth,) = boxes_csv(tmp_path)[0].truths
    assert (truth.label, truth.boxes) == ("n123", ((3, 4, 7, 9),))


def test_a_table_of_another_name(tmp_path: Path) -> None:
    written(tmp_path, "a.jpg,cat,1,2,3,4").rename(tmp_path / "val.csv")
    data = open_data(tmp_path / "val.csv")
    assert (data.names, data.name) == (("a.jpg",), str(tmp_path / "val.csv"))


def test_boxes_in_the_original_are_scaled_to_the_picture_that_is_stored(tmp_path: Path) -> None:
    written(tmp_path, "a.jpg,n1,40,40,4,8,38,40,0,0,1,1", header=WHOLE)
    assert boxes_csv(tmp_path)[0].truths[0].boxes == ((2, 2, 19, 10),)
    picture(tmp_path / "a.jpg", (80, 20))
    assert boxes_csv(tmp_path)[0].truths[0].boxes == ((8, 4, 76, 20),)


def test_the_last_pixel_is_one_of_the_original(tmp_path: Path) -> None:
    written(tmp_path, "a.jpg,n1,40,40,4,8,37,39,0,0,1,1", header=WHOLE)
    assert open_data(tmp_path, layout="boxes-csv:ends=from-zero")[0].truths[0].boxes == ((2, 2, 19, 10),)


@pytest.mark.parametrize("size", ["0,40", "40,-1", "nan,40", ",40"])
def test_an_original_without_a_size(tmp_path: Path, size: str) -> None:
    written(tmp_path, f"a.jpg,n1,{size},4,8,38,40,0,0,1,1", header=WHOLE)
    with pytest.raises(DataError, match=r"boxes\.csv, line 2 has"):
        boxes_csv(tmp_path)[0]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a.jpg,dog,3,4,7", "has 5 values, expected 6; its picture is left out"),
        ("a.jpg,dog,3,4,7,9,1", "has 7 values, expected 6"),
        ("a.jpg", "has 1 values, expected 6"),
        ("a.jpg,,3,4,7,9", "names no class"),
        ("a.jpg,dog,3,4,x,9", "has 'x' where a finite number"),
        ("a.jpg,dog,3,4,inf,9", "has 'inf' where a finite number"),
        ("a.jpg,dog,7,4,3,9", "has the box 7, 4, 3, 9, which has no width"),
        ("a.jpg,dog,30,4,35,9", "has the box 30, 4, 35, 9, which lies outside"),
    ],
)
def test_a_line_that_is_malformed_leaves_its_picture_out(tmp_path: Path, line: str, told: str) -> None:
    written(tmp_path, "a.jpg,dog,1,1,2,2", "b/c.jpg,dog,1,1,2,2", line)
    data = boxes_csv(tmp_path)
    with pytest.raises(DataError, match=r"boxes\.csv, line 4 ") as error:
        data[0]
    assert told in str(error.value)
    assert data[1].truths[0].boxes == ((1, 1, 2, 2),)


def test_files_that_are_missing_or_not_named(tmp_path: Path) -> None:
    long = "x" * 300
    written(
        tmp_path, "a.jpg,dog,1,1,2,2", "d.jpg,dog,1,1,2,2", ",dog,1,1,2,2", "d.jpg,cat,1,1,2,2", f"{long},c,1,1,2,2"
    )
    data = boxes_csv(tmp_path)
    assert data.names == ("a.jpg",)
    assert len(data.problems) == 3
    assert data.problems[0].endswith("boxes.csv, line 4 names no file")
    assert data.problems[1].endswith("d.jpg, which isn't there")
    assert "boxes.csv, line 3 names" in data.problems[1]
    assert "line 6" in data.problems[2]


def test_a_picture_that_is_broken(tmp_path: Path) -> None:
    written(tmp_path, "a.jpg,dog,1,1,2,2")
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(PictureError, match=r"a\.jpg"):
        boxes_csv(tmp_path)[0]


@pytest.mark.parametrize("lacking", HEADER.split(","))
def test_a_column_that_is_missing(tmp_path: Path, lacking: str) -> None:
    written(tmp_path, "a.jpg,dog,1,1,2,2", header=HEADER.replace(lacking, "other"))
    told = rf"boxes\.csv has no column {lacking}; expected a first line with file, label, x0, y0, x1, y1"
    with pytest.raises(DataError, match=told):
        boxes_csv(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'file,label\n"a', b"a" * 200_000])
def test_a_table_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "boxes.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"boxes\.csv"):
        boxes_csv(tmp_path)


def test_a_quote_that_never_ends(tmp_path: Path) -> None:
    written(tmp_path, "a.jpg,dog,1,1,2,2", '"a.jpg,dog,1,1,2,2')
    with pytest.raises(DataError, match=r"boxes\.csv can't be read \("):
        boxes_csv(tmp_path)


def test_a_table_without_lines(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(DataError, match="has no picture that can be judged: it is empty"):
        boxes_csv(tmp_path)


def test_there_are_no_splits(tmp_path: Path) -> None:
    written(tmp_path, "a.jpg,dog,1,1,2,2")
    with pytest.raises(DataError, match="has no split 'val': a table of boxes has none"):
        open_data(tmp_path, split="val")


def test_imagenet_val_boxes(data: Path) -> None:
    """400 pictures, 645 boxes; those scaled from the original are those that the table has for the stored picture."""
    found = open_data(data / "imagenet_val_boxes")
    assert (len(found), found.problems, found.knows) == (400, (), {Known.BOXES})
    with (data / "imagenet_val_boxes/boxes.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    told: dict[str, list[tuple[float, ...]]] = {}
    for row in rows:
        told.setdefault(row["file"], []).append(tuple(float(row[each]) for each in ("x0", "y0", "x1", "y1")))
    count = 0
    for place, name in enumerate(found.names):
        sample = found[place]
        (truth,) = sample.truths
        assert (truth.label, sample.picture.size) == (name.split("/")[1], (224, 224))
        assert len(truth.boxes) == len(told[name])
        for box, numbers in zip(truth.boxes, told[name]):
            assert box == pytest.approx(numbers, abs=0.006)
        count += len(truth.boxes)
    assert count == len(rows) == 645
