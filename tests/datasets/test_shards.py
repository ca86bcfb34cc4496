"""The reader of tar files in WebDataset's layout."""

import io
import json
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import picture, text
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sightline.datasets import open_data, shards
from sightline.datasets.shards import is_pattern, is_shards
from sightline.datasets.tars import members, reader
from sightline.errors import DataError, PictureError
from sightline.trials import Known, Truth


def colour(level: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (level, 0, 0)).save(file, kind)
    return file.getvalue()


def tar(path: Path, files: list[tuple[str, bytes]], form: int = tarfile.USTAR_FORMAT, mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=form, encoding="utf-8", errors="surrogateescape") as opened:  # type: ignore[call-overload]
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            opened.addfile(member, io.BytesIO(data))
    return path


def said(**content: Any) -> bytes:
    return json.dumps(content).encode()


def test_a_sample_is_all_files_of_a_name(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "photos-000.tar",
        [
            ("a.png", colour(1)), ("a.cls", b" 7\n"), ("a.json", said(camera="A", age=3, wet=True, box=[1], none=None)),
            ("b.json", said(labels=["dog", 4], label_id=2)), ("b.JPG", colour(2, "JPEG")), ("b.txt", b""),
            ("deep/a.txt", b"dog|cat"), ("deep/a.seg.png", b"-"), ("deep/a.webp", colour(3, "WEBP")),
            ("./c.label", b"\xef\xbb\xbfcat"), ("./c.txt", b"a cat on a mat"), ("./c.png", colour(4)),
            ("./._c.png", b"mac"), ("d.png", colour(5)),
        ],
    )  # fmt: skip
    data = open_data(path)
    stem = "photos-000"
    assert data.names == (f"{stem}/a", f"{stem}/b", f"{stem}/deep/a", f"{stem}/c", f"{stem}/d")
    assert (data.knows, data.problems, data.name) == ({Known.CLASSES}, (), str(path))
    expected: list[tuple[tuple[str, ...], dict[str, str]]] = [
        (("7",), {"camera": "A", "age": "3", "wet": "true"}),
        ((), {"label_id": "2"}),
        (("dog", "cat"), {}),
        (("cat",), {"txt": "a cat on a mat"}),
        ((), {}),
    ]
    for place, (labels, about) in enumerate(expected):
        sample = data[place]
        assert (sample.truths, sample.about) == (tuple(map(Truth, labels)), about), sample.name
        assert abs(np.asarray(sample.picture)[3, 4, 0].astype(int) - (place + 1)) <= 1
    again = pickle.loads(pickle.dumps(data))
    assert (again.names, again.entries[f"{stem}/a"].read()) == (data.names, colour(1))


def test_labels_in_json(tmp_path: Path) -> None:
    contents = [
        (said(label="dog", **{"class": "x"}), ("dog",), {"class": "x"}),
        (said(**{"class": 3}), ("3",), {}),
        (said(labels=["dog", "cat", "dog"], n=1.5), ("dog", "cat"), {"n": "1.5"}),
        (said(other="dog"), (), {"other": "dog"}),
        (said(label="half \ud800", **{"key \ud800": 1}), ("half ?",), {"key ?": "1"}),
    ]
    files = [
        (f"{n}.{suffix}", x) for n, (data, *_) in enumerate(contents) for suffix, x in (("png", b"-"), ("json", data))
    ]
    data = shards(tar(tmp_path / "a.tar", files))
    assert data.knows == {Known.CLASSES}
    for name, (_, labels, about) in zip(data.names, contents, strict=True):
        assert (data.entries[name].labels, data.entries[name].about) == (labels, about)
    assert shards(tar(tmp_path / "b.tar", [("a.png", b"-"), ("a.json", said(n=1))])).knows == frozenset()


def test_many_shards(tmp_path: Path) -> None:
    for number in (8, 9, 10, 11):
        tar(tmp_path / f"photos-{number:03}.tar", [(f"{n}.png", colour(10 * number + n)) for n in range(3)])
    text(tmp_path / "index.json", "{}")
    data = open_data(tmp_path)
    assert len(data) == 12
    assert data.names[3:6] == ("photos-009/0", "photos-009/1", "photos-009/2")
    assert [np.asarray(data[place].picture)[0, 0, 0] for place in (0, 5, 11)] == [80, 92, 112]
    some = open_data(str(tmp_path / "photos-{009..012}.tar"))
    assert some.names == data.names[3:]
    (line,) = some.problems
    assert "photos-012.tar can't be read (No such file or directory)" in line
    assert open_data(tmp_path.parent, split=tmp_path.name).names == data.names
    for what, told in (
        ("{020..021}", "020.tar can't be read"),
        ("{9..8}", "stands for 0 tar"),
        ("{0..9999999}", "000,0"),
    ):
        with pytest.raises(DataError, match=told):
            open_data(tmp_path / f"photos-{what}.tar")


def test_patterns(tmp_path: Path) -> None:
    for folder in "01":
        for number in range(2):
            tar(tmp_path / f"part{folder}/x{folder}{number}.tar", [("a.png", b"-")])
    data = shards(tmp_path / "part{0..1}/x1{0..1}.tar")
    assert data.names == ("x10/a", "x11/a")
    assert [line.partition("part")[2][:8] for line in data.problems] == ["0/x10.ta", "0/x11.ta"]
    assert not is_pattern(tmp_path / "part0/x00.tar")
    assert not is_pattern(tmp_path / "part{0..1}")
    odd = tar(tmp_path / "odd{0..1}.tar", [("a.png", b"-")])
    assert (is_pattern(odd), open_data(odd).names) == (False, ("odd{0..1}/a",))


def test_what_is_wrong_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    files = [
        ("a.png", colour(1)), ("b.cls", b"dog"), ("b.json", b"{}"), ("a.png", colour(2)), ("\udcff.png", colour(3)),
        ("c.png", b"broken"), ("d.png", colour(4)), ("d.json", b"{"), ("e.png", colour(5)), ("e.json", b"[1]"),
        ("f.png", colour(6)), ("f.cls", b"\xff"),
    ]  # fmt: skip
    path = tar(tmp_path / "x.tar", files)
    data = open_data(path)
    assert data.names == ("x/a", "x/c", "x/d", "x/e", "x/f")
    assert [line.removeprefix(f"{path}: ") for line in data.problems] == [
        "'a.png' is there twice; the first is kept",
        "b'\\xff.png' has a name that is no UTF-8; rename it",
        "'x/b' has no picture, only cls, json",
    ]
    assert np.asarray(data[0].picture)[0, 0, 0] == 1
    with pytest.raises(PictureError, match="x/c is no picture that can be read"):
        data[1]
    for place, told in (
        (2, "'d.json' is no JSON"),
        (3, "'e.json' is list; expected an object"),
        (4, "'f.cls' can't be"),
    ):
        with pytest.raises(DataError, match=told) as error:
            data[place]
        assert "\n" not in str(error.value)
    twin = tar(tmp_path / "other/x.tar", [("a.png", colour(7)), ("z.png", colour(8))])
    (tmp_path / "n0").mkdir()
    (tmp_path / "n1").mkdir()
    path.rename(tmp_path / "n0/x.tar")
    twin.rename(tmp_path / "n1/x.tar")
    both = open_data(tmp_path / "n{0..1}/x.tar")
    assert both.names == (*data.names, "x/z")
    assert "'a.png' is in a tar file of the same name too; the first is kept" in both.problems[2]


def test_packed_tars_are_refused(tmp_path: Path) -> None:
    for mode, name, how in (("w:gz", "a.tar.gz", "gzip"), ("w:bz2", "a.tar", "bzip2"), ("w:xz", "b.tar.xz", "xz")):
        path = tar(tmp_path / name, [("a.png", colour(1))], mode=mode)
        with pytest.raises(DataError, match=f"{name} is packed by {how}, so that .*; unpack it to a .tar first"):
            open_data(path)
    tar(tmp_path / "c.tar", [("a.png", colour(1))])
    data = open_data(tmp_path)
    assert (data.names, len(data.problems)) == (("c/a",), 3)


def test_no_tars(tmp_path: Path) -> None:
    for content, told in (
        (b"", "has no picture"),
        (b"text", "is no tar file: it begins with b'text'"),
        (bytes(1024), "has no picture"),
    ):
        (tmp_path / "a.tar").write_bytes(content)
        with pytest.raises(DataError, match=told):
            open_data(tmp_path / "a.tar")
    tar(tmp_path / "a.tar", [("a.png", b"-")])
    with pytest.raises(DataError, match="has no split 'val'"):
        shards(tmp_path / "a.tar", split="val")
    with pytest.raises(DataError, match="has no tar files"):
        shards(tmp_path, split="val")
    assert is_shards(tmp_path)
    picture(tmp_path / "b.jpg")
    assert not is_shards(tmp_path)
    assert open_data(tmp_path).names == ("b.jpg",)


FORMS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


@pytest.mark.parametrize("form", list(FORMS))
def test_the_members_are_those_that_the_standard_library_finds(tmp_path: Path, form: str) -> None:
    rng = np.random.default_rng(3)
    longest = 150 if form == "ustar" else 300
    names = ["a.png", "é/ü.png", "f" * 99, "f" * 100, "d" * 120 + "/" + "n" * 90, "x/" * (longest // 4) + "y.jpg"]
    files = [(name, rng.bytes(int(rng.integers(0, 2000)))) for name in names]
    path = tar(tmp_path / "a.tar", files, FORMS[form])
    with tarfile.open(path, "a", format=FORMS[form]) as opened:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE):
            other = tarfile.TarInfo(f"other{kind!r}")
            other.type, other.linkname = kind, "a.png"
            opened.addfile(other)
        last = tarfile.TarInfo("last.png")
        last.size, last.pax_headers = 3, {"comment": "é = 1\n", "mtime": "1.5"}
        opened.addfile(last, io.BytesIO(b"end"))
    problems: list[str] = []
    found = list(members(path, problems))
    assert problems == []
    with tarfile.open(path) as opened:
        expected = [each for each in opened.getmembers() if each.isreg()]
        assert [(each.name.decode(), each.start, each.size) for each in found] == [
            (each.name, each.offset_data, each.size) for each in expected
        ]
    assert [(each.name.decode(), reader(path, each)()) for each in found] == [*files, ("last.png", b"end")]


def test_sizes_beyond_what_octal_digits_hold(tmp_path: Path) -> None:
    size = 9 * 1024**3
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        member = tarfile.TarInfo("a.png")
        member.size = size
        with (tmp_path / "a.tar").open("wb") as file:  # a hole: it takes no room
            head = file.write(member.tobuf(form))
            file.seek(head + size)
            file.write(tarfile.TarInfo("b.png").tobuf(form) + bytes(1024))
        problems: list[str] = []
        assert [(each.name, each.start, each.size) for each in members(tmp_path / "a.tar", problems)] == [
            (b"a.png", head, size), (b"b.png", head + size + 512, 0),
        ]  # fmt: skip
        assert problems == []


def header(size: bytes, kind: bytes) -> bytes:
    """A header of a.png, its sum right whatever the size says."""
    block = bytearray(tarfile.TarInfo("a.png").tobuf(tarfile.USTAR_FORMAT))
    block[124:136], block[156:157] = size.rjust(12), kind
    block[148:156] = b"%06o\0 " % (sum(block) - sum(block[148:156]) + 256)
    return bytes(block)


@pytest.mark.parametrize(
    ("size", "kind", "content"),
    [
        (b"-1000", b"0", b""), (b"x", b"0", b""), (b"99999999", b"x", b""), (b"99999999", b"L", b""),
        (b"2", b"x", b"0 "), (b"4", b"x", b"-2 a"), (b"4", b"x", b"abcd"),
    ],
)  # fmt: skip
def test_headers_that_say_what_cannot_be(tmp_path: Path, size: bytes, kind: bytes, content: bytes) -> None:
    first = tarfile.TarInfo("first.png").tobuf()
    (tmp_path / "a.tar").write_bytes(first + header(size, kind) + content.ljust(1024, b"\0"))
    problems: list[str] = []
    assert [each.name for each in members(tmp_path / "a.tar", problems)] == [b"first.png"]
    assert problems == [f"{tmp_path}/a.tar is broken at byte 512; what comes behind is left out"]


def test_links_have_no_bytes_whatever_size_they_say(tmp_path: Path) -> None:
    last = tarfile.TarInfo("last.png").tobuf()
    (tmp_path / "a.tar").write_bytes(header(b"1000", b"1") + last + header(b"1000", b"5") + last + bytes(1024))
    problems: list[str] = []
    assert [each.name for each in members(tmp_path / "a.tar", problems)] == [b"last.png"] * 2
    assert problems == []


def test_a_tar_file_cut_short_anywhere_gives_what_is_whole(tmp_path: Path) -> None:
    files = [(f"{n}.png", bytes([n]) * (300 * n + 1)) for n in range(5)]
    whole = tar(tmp_path / "a.tar", files).read_bytes()
    ends, place = [], 0
    for _, data in files:
        place += 512 + -(-len(data) // 512) * 512
        ends.append((place, place - (-len(data) % 512)))
    for length in [*range(1, place + 512, 61), *(end for end, _ in ends)]:
        (tmp_path / "a.tar").write_bytes(whole[:length])
        problems: list[str] = []
        if length < 512:
            with pytest.raises(DataError, match="no tar file"):
                list(members(tmp_path / "a.tar", problems))
            continue
        found = list(members(tmp_path / "a.tar", problems))
        assert len(found) == sum(end <= length for _, end in ends), length
        assert len(problems) == (length <= place), length
        assert [reader(tmp_path / "a.tar", each)() for each in found] == [data for _, data in files[: len(found)]]
    found = list(members(tar(tmp_path / "a.tar", files), []))
    (tmp_path / "a.tar").write_bytes(whole[: found[-1].start + 7])
    with pytest.raises(PictureError, match=r"'4\.png' in .*a\.tar is cut short: 7 of 1201 bytes"):
        reader(tmp_path / "a.tar", found[-1])()
    (tmp_path / "a.tar").unlink()
    with pytest.raises(PictureError, match=r"a\.tar can't be read \(No such file or directory\)"):
        reader(tmp_path / "a.tar", found[0])()


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_tar_file_never_hangs_or_lies(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    files = [("n" * 120 + ".png", b"1" * 700), ("b.png", b"2" * 513), ("c.png", b"")]
    form = data.draw(st.sampled_from(list(FORMS)))
    path = tar(folder / "a.tar", files if form != "ustar" else files[1:], FORMS[form])
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, min(len(whole), 4096) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    problems: list[str] = []
    try:
        for each in members(path, problems):
            assert len(reader(path, each)()) == each.size
    except DataError as error:
        problems.append(str(error))
    assert not any("\n" in line for line in problems)


def test_threads_and_processes_read_at_once(tmp_path: Path) -> None:
    data = open_data(tar(tmp_path / "a.tar", [(f"{n:03}.png", colour(n)) for n in range(200)]))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda place: int(np.asarray(data[place].picture)[0, 0, 0]), range(200)))
    assert found == list(range(200))
