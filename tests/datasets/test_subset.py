"""Some of a data set's pictures."""

import random
from pathlib import Path

import pytest
from folders import picture

from sightline.datasets import Listed, folder, subset
from sightline.datasets.files import Files
from sightline.errors import DataError
from sightline.trials import Known


def ten(root: Path) -> Listed[Path]:
    for place in range(10):
        picture(root / f"dog/{place}.png", (place + 1, 5))
    picture(root / "lost.png")
    return folder(root)


@pytest.mark.parametrize(("count", "expected"), [(1, "0"), (2, "05"), (3, "036"), (4, "0257"), (9, "012345678")])
def test_spread_evenly(tmp_path: Path, count: int, expected: str) -> None:
    data = ten(tmp_path)
    some = subset(data, count)
    assert some.names == tuple(f"dog/{place}.png" for place in expected)
    assert len(some) == count
    assert [some[place].picture.width - 1 for place in range(count)] == [int(place) for place in expected]
    assert some[0].name == "dog/0.png"
    assert (some.knows, some.problems) == ({Known.CLASSES}, data.problems)
    assert len(some.problems) == 1


def test_all_where_there_are_fewer(tmp_path: Path) -> None:
    data = ten(tmp_path)
    assert subset(data, 10).names == subset(data, 99).names == data.names
    assert subset(data, 99, seed=1).names == data.names


def test_drawn_by_a_seed(tmp_path: Path) -> None:
    data = ten(tmp_path)
    some = subset(data, 4, seed=3)
    places = sorted(random.Random(3).sample(range(10), 4))
    assert some.names == tuple(data.names[place] for place in places) == subset(data, 4, seed=3).names
    assert some.names != subset(data, 4).names
    assert len({subset(data, 4, seed).names for seed in range(20)}) > 10
    drawn = [name for seed in range(200) for name in subset(data, 4, seed).names]
    assert all(50 < drawn.count(name) < 110 for name in data.names)


def test_the_name_tells_which(tmp_path: Path) -> None:
    data = ten(tmp_path)
    assert subset(data, 4).name == f"{tmp_path}, 4 of 10, evenly"
    assert subset(data, 4, seed=0).name == f"{tmp_path}, 4 of 10, seed 0"
    assert subset(subset(data, 4), 2).names == ("dog/0.png", "dog/5.png")


@pytest.mark.parametrize("count", [0, -1])
def test_none_are_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(DataError, match=rf"{count} pictures of .* can't be judged; expected 1 to 10"):
        subset(ten(tmp_path), count)


def test_files_stay_files_and_the_rest_is_not_among_them(tmp_path: Path) -> None:
    data = ten(tmp_path)
    some = subset(data, 2)
    assert isinstance(some, Files)
    assert some.entries["dog/5.png"].read() == data.entries["dog/5.png"].read()
    assert "dog/1.png" in data.entries
    assert "dog/1.png" not in some.entries
