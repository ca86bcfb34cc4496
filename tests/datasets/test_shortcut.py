"""The shortcut world: the marker goes with the label as strongly as is said, and nothing else changes with it."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from sightline.datasets.shortcut import CLASSES, COLOURS, DISC, cast, scene, shortcut
from sightline.errors import DataError


def signs(rho: float, marker: str, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Labels and markers' classes as -1 and 1."""
    pairs = np.array([cast(place, "train", 0, rho, marker) for place in range(count)])
    return 2 * pairs[:, 0] - 1, 2 * pairs[:, 1] - 1


@pytest.mark.parametrize("rho", [0, 0.5, 0.9, 1])
def test_the_correlation_of_marker_and_label_is_rho(rho: float) -> None:
    labels, markers = signs(rho, "as-trained")
    assert np.corrcoef(labels, markers)[0, 1] == pytest.approx(rho, abs=0.03)
    assert (labels == markers).mean() == pytest.approx((1 + rho) / 2, abs=0.015)
    swapped = signs(rho, "swapped")[1]
    assert (swapped == -markers).all()
    by_chance = signs(rho, "random")[1]
    assert np.corrcoef(labels, by_chance)[0, 1] == pytest.approx(0, abs=0.03)
    assert np.corrcoef(markers, by_chance)[0, 1] == pytest.approx(0, abs=0.05)


def test_a_marker_that_agrees_at_some_rho_agrees_at_any_higher() -> None:
    agree = [signs(rho, "as-trained", 300) for rho in (0, 0.5, 0.9, 1)]
    told = [labels == markers for labels, markers in agree]
    assert all((low <= high).all() for low, high in pairwise(told))


def test_labels_are_balanced_in_every_pair_of_pictures() -> None:
    labels = [cast(place, "test", 0, 0.9, "as-trained")[0] for place in range(200)]
    assert all({*labels[start : start + 2]} == {0, 1} for start in range(0, 200, 2))
    assert 20 < Counter(labels[::2])[0] < 80  # which comes first is by chance


def test_pictures_differ_by_the_marker_alone_and_exactly_in_its_mask() -> None:
    for place in range(12):
        pictures = {
            marker: np.asarray(shortcut(12, rho=0.5, marker=marker)[place].picture)
            for marker in ("as-trained", "swapped", "absent", "random")
        }
        mask = shortcut(12, rho=0.5, truth="marker")[place].truths[0].mask
        other = shortcut(12, rho=0.5, truth="marker", marker="swapped")[place].truths[0].mask
        assert ((pictures["as-trained"] != pictures["absent"]).any(2) == mask).all()
        assert not (pictures["swapped"] != pictures["absent"]).any(2)[~other].any()
        assert (pictures["as-trained"] != pictures["swapped"]).any(2).sum() == pytest.approx(mask.sum(), abs=2)
        assert (pictures["random"] == pictures["as-trained"]).all() or (pictures["random"] == pictures["swapped"]).all()


def test_the_truth_is_the_objects_mask_or_the_markers_under_the_same_label() -> None:
    for place in range(8):
        on_object, on_marker = shortcut(8)[place], shortcut(8, truth="marker")[place]
        assert on_object.truths[0].label == on_marker.truths[0].label
        assert (np.asarray(on_object.picture) == np.asarray(on_marker.picture)).all()
        painting, label = scene(place, "test", 0, 0.9, "as-trained", 64)
        assert label == on_object.truths[0].label
        assert (on_object.truths[0].mask == painting.mask("object")).all()
        assert (on_marker.truths[0].mask == painting.mask("marker")).all()
        assert not (on_object.truths[0].mask & on_marker.truths[0].mask).any()
        assert on_marker.truths[0].mask.sum() == pytest.approx(np.pi * (DISC * 64) ** 2, rel=0.35)


def test_the_marker_is_of_its_class_colour_in_a_corner() -> None:
    corners = Counter()
    for place in range(40):
        painting, _ = scene(place, "test", 0, 0.9, "as-trained", 64)
        goes_with = cast(place, "test", 0, 0.9, "as-trained")[1]
        marker = painting.things[-1]
        assert np.allclose(marker.colour, COLOURS[goes_with])
        rows, columns = np.nonzero(marker.cover)
        corners[rows.mean() > 32, columns.mean() > 32] += 1
        assert min(rows.min(), columns.min(), 63 - rows.max(), 63 - columns.max()) in (1, 2)
    assert len(corners) == 4


def test_a_picture_depends_on_its_place_alone_and_is_the_same_at_every_rho() -> None:
    one, other = shortcut(2)[1], shortcut(9)[1]
    assert one.name == other.name == "shortcut-test-0001"
    assert (np.asarray(one.picture) == np.asarray(other.picture)).all()
    bare = [np.asarray(shortcut(2, rho=rho, marker="absent")[1].picture) for rho in (0, 1)]
    assert (bare[0] == bare[1]).all()
    assert (np.asarray(shortcut(2, seed=1)[1].picture) != np.asarray(one.picture)).any()
    assert (np.asarray(shortcut(2, split="train")[1].picture) != np.asarray(one.picture)).any()
    grounds = [
        scene(1, split, seed, 0.9, "absent", 64)[0].ground for split, seed in (("test", 0), ("test", 1), ("val", 0))
    ]
    assert len({each.tobytes() for each in grounds}) == 3
    assert {sample.truths[0].label for sample in shortcut(9)} == {*CLASSES}


@pytest.mark.parametrize(
    "options",
    [{"rho": 1.1}, {"rho": -0.1}, {"marker": "gone"}, {"truth": "both"}, {"marker": "absent", "truth": "marker"}],
)
def test_what_cant_be_drawn_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(DataError, match="expected rho of 0 to 1, a marker as-trained, swapped, absent, random"):
        shortcut(**options)


def test_sizes_and_splits_are_checked() -> None:
    assert shortcut(size=96)[0].picture.size == (96, 96)
    with pytest.raises(DataError, match="expected 48 or more"):
        shortcut(size=20)
    with pytest.raises(DataError, match="choose train, val, test"):
        shortcut(split="all")


@pytest.mark.parametrize("marker", ["as-trained", "swapped", "absent", "random"])
def test_what_is_said_of_a_picture_is_what_is_drawn(marker: str) -> None:
    data = shortcut(40, rho=0.5, marker=marker)
    said = Counter()
    for place, sample in enumerate(data):
        painting, label = scene(place, "test", 0, 0.5, marker, 64)
        drawn = {thing.name: thing.colour for thing in painting.things}
        colours = {"orange": COLOURS[0], "blue": COLOURS[1]}
        assert ("marker" in drawn) == (sample.about["marker"] != "none")
        if "marker" in drawn:
            np.testing.assert_array_equal(drawn["marker"], np.float32(colours[sample.about["marker"]]))
        goes_with = {"orange": "cross", "blue": "star", "none": None}[sample.about["marker"]]
        assert sample.about["agrees"] == ("yes" if goes_with == label else "no")
        said[sample.about["agrees"]] += 1
    assert said["yes"] == 0 if marker == "absent" else min(said.values()) > 5
