"""VOC's XML: what is read, and what is refused in one line."""

from pathlib import Path

import pytest
from folders import annotation, text, thing

from sightline.datasets.boxes import Ends
from sightline.datasets.pascal import annotations_below, read_pascal
from sightline.errors import DataError


def test_size_and_objects(tmp_path: Path) -> None:
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    dog = thing(" dog ", 3, 4, 7, 9.5, difficult=" 1 ").replace("</object>", f"{part}</object>")
    found = read_pascal(annotation(tmp_path / "a.xml", dog, thing("cat", 1, 2, 3, 4)))
    assert found.size == (20, 10)
    assert [(each.label, each.corners, each.difficult) for each in found.things] == [
        ("dog", ("3", "4", "7", "9.5"), True),
        ("cat", ("1", "2", "3", "4"), False),
    ]
    truths = found.truths(Ends.FROM_ONE, (20, 10), (2, 1))
    assert [(each.label, each.boxes) for each in truths] == [("dog", ((4, 3, 14, 9.5),)), ("cat", ((0, 1, 6, 4),))]


def test_an_object_in_something_else_is_none(tmp_path: Path) -> None:
    path = annotation(tmp_path / "a.xml", f"<source>{thing('cat', 1, 2, 3, 4)}</source>", thing("dog", 1, 2, 3, 4))
    assert [each.label for each in read_pascal(path).things] == ["dog"]


def test_difficult_may_be_left_out(tmp_path: Path) -> None:
    path = annotation(tmp_path / "a.xml", thing("dog", 3, 4, 7, 9).replace("<difficult>0</difficult>", ""))
    assert not read_pascal(path).things[0].difficult


@pytest.mark.parametrize("size", [None, (0, 0)])
def test_a_size_that_is_not_told(tmp_path: Path, size: tuple[int, int] | None) -> None:
    assert read_pascal(annotation(tmp_path / "a.xml", size=size)).size is None


@pytest.mark.parametrize("size", [(20, 0), (0, 10), (-20, 10), (20.5, 10), ("nan", 10), ("", 10), ("wide", 10)])
def test_a_size_that_is_none(tmp_path: Path, size: tuple[object, object]) -> None:
    with pytest.raises(DataError, match=r"a\.xml"):
        read_pascal(annotation(tmp_path / "a.xml", size=size))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "no element found"),
        ("<annotation>", "no element found"),
        ("<annotation></b>", "mismatched tag"),
        ("\x00\x01", "not well-formed"),
        ("<html/>", "holds <html>; expected <annotation>"),
        ("<annotation><a>&nothing;</a></annotation>", "undefined entity"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "encoding"),
        ("<annotation><object><bndbox/></object></annotation>", "an object without a name"),
        ("<annotation><object><name> </name></object></annotation>", "an object without a name"),
        (f"<annotation>{thing('dog', 1, 2, 3, 4, difficult='maybe')}</annotation>", "difficult is 'maybe'; expected 0"),
    ],
)
def test_what_is_malformed_is_told_in_one_line(tmp_path: Path, content: str, told: str) -> None:
    with pytest.raises(DataError, match=r"a\.xml") as error:
        read_pascal(text(tmp_path / "a.xml", content))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("left_out", ["xmin", "ymin", "xmax", "ymax", "bndbox"])
def test_a_corner_that_is_missing(tmp_path: Path, left_out: str) -> None:
    dog = thing("dog", 1, 2, 3, 4).replace(left_out, "nothing")
    found = read_pascal(annotation(tmp_path / "a.xml", dog))
    with pytest.raises(DataError, match=r"a\.xml, dog has None where a finite number is expected"):
        found.truths(Ends.FROM_ONE, (20, 10))


def test_a_file_that_is_missing_or_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "a.xml", tmp_path):
        with pytest.raises(DataError, match="can't be read"):
            read_pascal(path)


LAUGHS = "".join(f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in zip("abcdefgh", "bcdefghi"))


@pytest.mark.parametrize(
    "document",
    [
        f'<!DOCTYPE annotation [<!ENTITY a "ha">{LAUGHS}]><annotation>&i;</annotation>',
        '<!DOCTYPE annotation [<!ENTITY a "ha">]><annotation>&a;</annotation>',
        '<!DOCTYPE annotation SYSTEM "file:///etc/passwd"><annotation/>',
        "<!DOCTYPE annotation><annotation/>",
    ],
    ids=["billion-laughs", "entity", "external", "plain"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_is_refused(tmp_path: Path, document: str, encoding: str) -> None:
    (tmp_path / "a.xml").write_bytes(document.encode(encoding))
    with pytest.raises(DataError, match=r"a\.xml can't be read \(it has a document type"):
        read_pascal(tmp_path / "a.xml")


def test_depth_breaks_nothing(tmp_path: Path) -> None:
    path = text(tmp_path / "a.xml", f"<annotation>{'<a>' * 200_000}{'</a>' * 200_000}</annotation>")
    assert read_pascal(path).things == ()


def test_hidden_files_are_none(tmp_path: Path) -> None:
    annotation(tmp_path / "a/b.xml")
    annotation(tmp_path / "a/._b.xml")
    assert [each.name for each in annotations_below(tmp_path)] == ["b.xml"]
