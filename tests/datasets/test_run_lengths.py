"""COCO's run lengths: by hand, and packed as pycocotools packs them."""

import numpy as np
import pytest

from sightline.datasets.run_lengths import from_runs
from sightline.errors import DataError


def test_runs_go_down_the_columns() -> None:
    assert from_runs([1, 2, 3], (3, 2), "a").astype(int).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert from_runs([0, 6], (3, 2), "a").all()
    assert not from_runs([6], (3, 2), "a").any()
    assert from_runs([2, 0, 1, 3], (3, 2), "a").astype(int).tolist() == [[0, 0, 1], [0, 1, 1]]


def test_packed_by_hand() -> None:
    """40 is 8 and "more follows", then 1; the fourth run, 1, is written as -1, the difference to the second, 2."""
    assert not from_runs("5", (1, 5), "a").any()
    assert from_runs("0X1", (1, 40), "a").all()
    assert from_runs("321O", (1, 7), "a").astype(int).ravel().tolist() == [0, 0, 0, 1, 1, 0, 1]


@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 0.98, 1.0])
@pytest.mark.parametrize("size", [(1, 1), (13, 7), (90, 61)])
def test_packed_as_pycocotools_does(density: float, size: tuple[int, int]) -> None:
    tools = pytest.importorskip("pycocotools.mask")
    mask = np.random.default_rng(0).random(size[::-1]) < density
    mask[: size[1] // 2, : size[0] // 3] = density > 0.1
    packed = tools.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert packed["size"] == [size[1], size[0]]
    found = from_runs(packed["counts"].decode(), size, "a")
    assert found.dtype == bool
    assert (found == mask).all()


@pytest.mark.parametrize(
    "counts",
    [[5], [7], [3, 4], [], [6.0], [True, 5], [-1, 7], [3, -1, 4], ["6"], None, 6, {}, "", "5", "7", "X", "~", "é",
     "/", "p", "P" * 50 + "0", "6" + "P", "6p", "0101O", "\x00"],
)  # fmt: skip
def test_runs_that_do_not_fill_the_picture(counts: object) -> None:
    with pytest.raises(DataError, match=r"^a\.json has run lengths that don't fill 3 x 2 pixels; export them again$"):
        from_runs(counts, (3, 2), "a.json")
