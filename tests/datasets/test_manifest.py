"""The reader of tables with a line a picture."""

import csv
import pickle
from pathlib import Path

import pyarrow
import pytest
from folders import picture, text
from pyarrow import parquet

from sightline.datasets import boxes_csv, manifest, open_data
from sightline.datasets.boxes_csv import is_boxes_csv
from sightline.datasets.manifest import is_manifest
from sightline.errors import DataError, PictureError
from sightline.trials import Known, Truth


def told(path: Path, content: str | bytes) -> list[str]:
    """The problems of a table, without its name."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    problems = manifest(path).problems
    assert all(line.startswith(f"{path}") and "\n" not in line for line in problems)
    for line in problems:
        line.encode()
    return [line.removeprefix(f"{path}, ") for line in problems]


def test_a_line_a_picture(tmp_path: Path) -> None:
    picture(tmp_path / "shelf/a.jpg")
    away = picture(tmp_path / "away/b.jpg", (8, 6))
    table = text(
        tmp_path / "lists/all.csv",
        f'label,camera,path,split,note\ndog|cat,A,../shelf/a.jpg,train,"two, three"\n,B,{away},val,\n',
    )
    data = open_data(table)
    assert (data.names, data.knows, data.problems) == (("../shelf/a.jpg", str(away)), {Known.CLASSES}, ())
    assert data[0].truths == (Truth("dog"), Truth("cat"))
    assert data[0].about == {"camera": "A", "split": "train", "note": "two, three"}
    assert (data[1].truths, data[1].about, data[1].picture.size) == ((), {"camera": "B", "split": "val"}, (8, 6))
    assert data.entries[str(away)].read() == away.read_bytes()
    again = pickle.loads(pickle.dumps(data))
    assert (again.names, again[1].about) == (data.names, data[1].about)


@pytest.mark.parametrize("column", ["path", "file", "image", "picture", "filename", " Path ", "FILE"])
@pytest.mark.parametrize("label", ["label", "class", "labels", "Class"])
def test_columns_by_their_names(tmp_path: Path, column: str, label: str) -> None:
    data = manifest(text(tmp_path / "a.csv", f"{label},{column}\ndog,a.jpg\n"))
    assert data.entries["a.jpg"].labels == ("dog",)
    assert data.entries["a.jpg"].about == {}


def test_the_first_of_several_names_is_meant_and_the_others_are_said_of_the_picture(tmp_path: Path) -> None:
    data = manifest(text(tmp_path / "a.csv", ",file,path,class,label\n0,b.jpg,a.jpg,4,dog\n"))
    assert data.entries["a.jpg"].labels == ("dog",)
    assert data.entries["a.jpg"].about == {"file": "b.jpg", "class": "4"}


def test_nothing_is_known_without_labels(tmp_path: Path) -> None:
    assert manifest(text(tmp_path / "a.csv", "path\na.jpg\n")).knows == frozenset()
    assert manifest(text(tmp_path / "b.csv", "path,label\na.jpg,\n")).knows == frozenset()


def test_splits(tmp_path: Path) -> None:
    table = text(tmp_path / "a.csv", "path,split\na.jpg,train\nb.jpg,val\nc.jpg,train\n")
    assert open_data(table).names == ("a.jpg", "b.jpg", "c.jpg")
    data = open_data(table, split="train")
    assert (data.names, data.name) == (("a.jpg", "c.jpg"), f"{table} train")
    with pytest.raises(DataError, match=r"has no split 'test'; there are: train, val"):
        open_data(table, split="test")
    with pytest.raises(DataError, match="has no column split, so no split 'val'"):
        open_data(text(tmp_path / "b.csv", "path\na.jpg"), split="val")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", "path\tlabel\tnote\na.jpg\tdog\tone, two\n"),
        ("a.csv", "path;label;note\na.jpg;dog;one, two\n"),
        ("a.csv", "path\tlabel\tnote\na.jpg\tdog\tone, two\n"),
        ("a.csv", '"path","label","note"\r\n"a.jpg","dog","one, two"\r\n'),
        ("a.csv", '\ufeffpath,label,note\n\n\n a.jpg , dog ,"one, two"\n,,\n\n'),
        ("a.TSV", '\ufeff"path"\tlabel\tnote\n"a.jpg"\tdog\tone, two'),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_tables_as_they_are_saved(tmp_path: Path, name: str, content: str, encoding: str) -> None:
    table = tmp_path / name
    table.write_bytes((content.lstrip("\ufeff") if encoding == "utf-16" else content).encode(encoding))
    data = open_data(table)
    assert (data.names, data.problems) == (("a.jpg",), ())
    assert data.entries["a.jpg"].labels == ("dog",)
    assert data.entries["a.jpg"].about == {"note": "one, two"}


def test_parquet(tmp_path: Path) -> None:
    table = pyarrow.table(
        {
            "path": ["a.jpg", "b.jpg", None, "a.jpg"],
            "labels": [["dog", "cat"], None, ["cat"], []],
            "age": pyarrow.array([3, None, 4, 5]),
            "weight": [1.5, 2.25, 0.0, 0.0],
            "seen": [True, False, None, None],
            "thumb": [b"\xff\xd8", None, None, None],
            "box": [{"x": 1}, None, None, None],
        }
    )
    path = tmp_path / "all.parquet"
    parquet.write_table(table, path)
    data = open_data(path)
    assert (data.names, data.knows) == (("a.jpg", "b.jpg"), {Known.CLASSES})
    assert data.entries["a.jpg"].labels == ("dog", "cat")
    assert data.entries["a.jpg"].about == {"age": "3", "weight": "1.5", "seen": "True"}
    assert data.entries["b.jpg"].labels == ()
    assert data.entries["b.jpg"].about == {"weight": "2.25", "seen": "False"}
    assert [line.removeprefix(str(path)) for line in data.problems] == [
        ": column 'thumb' of binary is left out; expected plain values",
        ": column 'box' of struct<x: int64> is left out; expected plain values",
        ", line 3 names no picture",
        ", line 4 lists a.jpg again; the first is kept",
    ]


def test_a_parquet_file_and_a_csv_file_of_the_same_rows_are_the_same(tmp_path: Path) -> None:
    rows = [(f"{place:05}.jpg", f"class {place % 7}", f"camera {place % 3}") for place in range(3000)]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "camera"), *rows])
    columns = dict(zip(("path", "label", "camera"), zip(*rows, strict=True), strict=True))
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet", row_group_size=700)
    one, other = manifest(tmp_path / "a.csv"), manifest(tmp_path / "a.parquet")
    assert one.names == other.names == tuple(row[0] for row in rows)
    for name, label, camera in rows:
        for file in (one.entries[name], other.entries[name]):
            assert (file.labels, file.about) == ((label,), {"camera": camera})


def test_what_is_wrong_with_a_line_is_a_problem_and_the_others_are_read(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    lines = [
        b"path,label", b"a.jpg,dog", b"b.jpg", b"c.jpg,dog,1", b",dog", b"a.jpg,cat", b"d\xe9.jpg,dog",
        b'"e.jpg"x,dog', b"f.jpg," + b"x" * 200_000, b"g.jpg,cat", b'"two\nlines.jpg",dog', b'"two\nlines.jpg",dog',
        b'"h.jpg,dog',
    ]  # fmt: skip
    found = told(table, b"\n".join(lines))
    assert found == [
        "line 3 has 1 values, expected 2",
        "line 4 has 3 values, expected 2",
        "line 5 names no picture",
        "line 6 lists a.jpg again; the first is kept",
        "line 7 is no UTF-8; save the table as UTF-8",
        "line 8 can't be read (',' expected after '\"')",
        "line 9 can't be read (field larger than field limit (131072))",
        "line 14 lists 'two\\nlines.jpg' again; the first is kept",
        "line 15 can't be read (unexpected end of data)",
    ]
    data = manifest(table)
    assert data.names == ("a.jpg", "g.jpg", "two\nlines.jpg")
    assert data.entries["a.jpg"].labels == ("dog",)


def test_a_quote_that_never_ends_takes_no_more_than_a_field(tmp_path: Path) -> None:
    lines = ["path,label", '"a.jpg,dog', *(f"{place:05}.jpg,cat" for place in range(20_000))]
    (line,) = told(tmp_path / "a.csv", "\n".join(lines))
    assert line.startswith("line ")
    assert "can't be read from line 2 on (field larger than field limit" in line
    first = int(line.split()[1]) - 2
    data = manifest(tmp_path / "a.csv")
    assert data.names == tuple(f"{place:05}.jpg" for place in range(first, 20_000))


def test_a_picture_that_is_missing_or_broken_is_found_when_it_is_read(tmp_path: Path) -> None:
    text(tmp_path / "b.jpg", "nothing")
    data = open_data(text(tmp_path / "a.csv", "path\na.jpg\nb.jpg\n"))
    assert data.problems == ()
    with pytest.raises(PictureError, match=r"a\.jpg can't be read \(No such file"):
        data[0]
    with pytest.raises(PictureError, match=r"b\.jpg is no picture"):
        data[1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has no column path (or file, image, picture, filename); its columns: nothing"),
        (b"name,label\na.jpg,dog", "has no column path (or file, image, picture, filename); its columns: name, label"),
        (b"path,label\n", "has no picture that can be judged: it is empty"),
        (b"path\n,\n", "has no picture that can be judged: "),
        (b"path,Path\na,b", "has two columns path; rename one"),
        (b"path,l\xe4bel\na,b", "can't be read (its first line is no UTF-8)"),
        (b'"path"x,label\na,b', "can't be read (can't be read"),
        (b"\xff\xfep\0a", "a.csv"),
        (b"\xff\xd8\xff\xe0" * 99, "a.csv"),
        (b"x" * 200_000, "field larger"),
    ],
)
def test_a_table_that_is_none(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError) as error:
        open_data(tmp_path / "a.csv")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    for content in (b"", b"PAR1 nothing PAR1", b"path\na.jpg"):
        (tmp_path / "a.parquet").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.parquet can't be read \(.*\); expected a table of pictures") as error:
            open_data(tmp_path / "a.parquet")
        assert "\n" not in str(error.value)
    table = pyarrow.table({"path": [f"{place}.jpg" for place in range(1000)]})
    parquet.write_table(table, tmp_path / "b.parquet", compression="none", use_dictionary=False)
    whole = (tmp_path / "b.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(whole[:10] + b"\xff" * 200 + whole[210:])
    with pytest.raises(DataError, match=r"b\.parquet"):
        open_data(tmp_path / "b.parquet")


def test_a_table_of_boxes_is_another_layout(tmp_path: Path) -> None:
    tables = {
        "a.csv": ("file,label,x0,y0,x1,y1\na.jpg,dog,1,1,2,2", True),
        "b.csv": ('\ufeff"file" , "wnid","x0","y0","x1","y1"\na.jpg,dog,1,1,2,2', True),
        "c.csv": ("image,label,orig_x0,orig_y0,orig_x1,orig_y1,orig_width,orig_height\n", True),
        "d.csv": ("path,label,orig_width,orig_height\na.jpg,dog,1,1", False),
        "e.csv": ("path,label\na.jpg,x0", False),
        "f.csv": ("", False),
        "g.csv": ("x" * 200_000, False),
        "h.tsv": ("path\tx0", False),
        "i.csv": ("file;label;x0;y0;x1;y1\n", True),
    }
    for name, (content, boxes) in tables.items():
        path = text(tmp_path / name, content)
        assert (is_boxes_csv(path), is_manifest(path)) == (boxes, not boxes), name
    (tmp_path / "j.csv").write_bytes(tables["a.csv"][0].encode("utf-16"))
    assert (is_boxes_csv(tmp_path / "j.csv"), is_manifest(tmp_path / "j.csv")) == (True, False)
    for name in ("i.csv", "j.csv"):
        with pytest.raises(DataError, match="expected a (first line with file, label|CSV table of boxes, as UTF-8)"):
            open_data(tmp_path / name)
    picture(tmp_path / "a.jpg")
    assert open_data(tmp_path / "a.csv")[0].truths[0].boxes == boxes_csv(tmp_path / "a.csv")[0].truths[0].boxes
    assert open_data(tmp_path / "a.csv", layout="manifest").entries["a.jpg"].about["x0"] == "1"
