"""Masks as PNG files of indices, and the names of indices."""

import json
from pathlib import Path

import numpy as np
import pytest
from folders import indices, picture, table, text
from PIL import Image

from sightline.datasets.indexed import class_names, masks_of, read_indices
from sightline.errors import DataError

ROWS = [[0, 1, 2, 255], [3, 0, 1, 1]]


@pytest.mark.parametrize("mode", ["P", "L"])
def test_palette_indices_and_grey_values(tmp_path: Path, mode: str) -> None:
    path = indices(tmp_path / "a.png", ROWS, mode)
    with Image.open(path) as image:
        assert image.mode == mode
    assert read_indices(path, (4, 2)).tolist() == ROWS


def test_few_bits_are_still_indices(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2, 3]], dtype=np.uint8))
    image.putpalette([9, 9, 9, 8, 8, 8, 7, 7, 7, 6, 6, 6])
    image.save(tmp_path / "a.png", bits=2)
    assert read_indices(tmp_path / "a.png", (4, 1)).tolist() == [[0, 1, 2, 3]]


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    assert read_indices(tmp_path / "a.png", (2, 1)).tolist() == [[255, 0]]


def test_sixteen_bits(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1, 300]], dtype=np.uint16)).save(tmp_path / "a.png")
    found = read_indices(tmp_path / "a.png", (3, 1))
    assert found.tolist() == [[0, 1, 300]]
    with pytest.raises(DataError, match=r"a\.png has index 300, and 2 classes have names"):
        masks_of(found, ("cat", "dog"), tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_colours_that_are_grey_are_its_values(tmp_path: Path, mode: str) -> None:
    Image.fromarray(np.array([[0, 255, 7]], dtype=np.uint8)).convert(mode).save(tmp_path / "a.png")
    assert read_indices(tmp_path / "a.png", (3, 1)).tolist() == [[0, 255, 7]]


def test_colours_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png has colours and no palette; expected palette or grey"):
        read_indices(picture(tmp_path / "a.png"), (20, 10))


@pytest.mark.parametrize("size", [(2, 4), (3, 2), (4, 3)])
def test_another_size_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    told = rf"a\.png has 4 x 2 pixels and its picture {size[0]} x {size[1]}; expected"
    with pytest.raises(DataError, match=told):
        read_indices(indices(tmp_path / "a.png", ROWS), size)


def test_a_size_is_known_before_anything_is_decoded(tmp_path: Path) -> None:
    whole = indices(tmp_path / "a.png", ROWS).read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: whole.index(b"IDAT")] + b"IDATbroken")
    with pytest.raises(DataError, match="expected a mask of the picture's size"):
        read_indices(tmp_path / "a.png", (9, 9))


@pytest.mark.parametrize("kept", [0, 4, 20, 40, -60])
def test_a_broken_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = indices(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (40, 40)))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"a\.png can't be read \(.*; expected a PNG mask"):
        read_indices(path, (40, 40))


def test_no_png_is_refused(tmp_path: Path) -> None:
    for path in (picture(tmp_path / "a.jpg"), tmp_path / "none.png", tmp_path):
        with pytest.raises(DataError, match="can't be read"):
            read_indices(path, (20, 10))


def test_masks_of_classes(tmp_path: Path) -> None:
    found, ignore = masks_of(np.array(ROWS, dtype=np.uint8), ("cat", "dog", "cow", "ox"), tmp_path)
    assert list(found) == ["cat", "dog", "cow"]
    assert found["cat"].tolist() == [[False, True, False, False], [False, False, True, True]]
    assert found["cow"].tolist() == [[False] * 4, [True, False, False, False]]
    assert ignore is not None
    assert ignore.tolist() == [[False, False, False, True], [False] * 4]
    assert masks_of(np.zeros((2, 2), dtype=np.uint8), ("cat",), tmp_path) == ({}, None)


def test_an_index_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png has index 3, and 2 classes have names; name them all in classes"):
        masks_of(np.array(ROWS, dtype=np.uint8), ("cat", "dog"), tmp_path / "a.png")


def test_names_of_classes(tmp_path: Path) -> None:
    assert class_names(tmp_path) is None
    text(tmp_path / "classes.txt", "\ufeffcat \n traffic light\n\n")
    assert class_names(tmp_path) == ("cat", "traffic light")
    table(tmp_path / "classes.json", ["dog", "cow"])
    assert class_names(tmp_path) == ("dog", "cow")


@pytest.mark.parametrize("name", ["background", "Background", "_background_", "__background__"])
def test_a_name_of_index_0_is_left_out(tmp_path: Path, name: str) -> None:
    table(tmp_path / "classes.json", [name, "dog", "cow"])
    assert class_names(tmp_path) == ("dog", "cow")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "{}",
        "[]",
        "[1]",
        r'["\ud800"]',
        '["a", ""]',
        '["a", "a"]',
        '"ab"',
        "[" * 100_000,
        json.dumps([*map(str, range(255))]),
    ],
)
def test_names_that_are_none(tmp_path: Path, content: str) -> None:
    text(tmp_path / "classes.json", content)
    with pytest.raises(DataError, match=r"classes\.json"):
        class_names(tmp_path)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match=r"classes\.txt can't be read"):
        class_names(tmp_path)
    (tmp_path / "classes.txt").write_text("cat\n\ndog\n")
    with pytest.raises(DataError, match=r"classes\.txt holds .*expected a list of 1 to 254 names, all different"):
        class_names(tmp_path)
