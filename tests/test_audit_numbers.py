"""The numbers under an audit: shares by hand, draws by a slow loop, frames, and what was kept."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hand_runs import kept, marks, row
from numpy.typing import NDArray
from toys import Toy

from sightline.audit import Estimate, Look, Region, audit, save_evidence
from sightline.audit.averages import around, in_frame, whole
from sightline.audit.changes import paired
from sightline.audit.estimates import DRAWS, Draws, estimate
from sightline.audit.evidence import as_shares, misplaced, share
from sightline.audit.groups import gap
from sightline.audit.places import Place, Places
from sightline.metrics.energy import energy
from sightline.runs import Run
from sightline.runs.query import EVIDENCE
from sightline.trials import Truth

RANDOM = np.random.default_rng(0)


def mask(*cells: tuple[int, int], size: tuple[int, int] = (2, 3)) -> NDArray[np.bool_]:
    found = np.zeros(size, dtype=bool)
    for y, x in cells:
        found[y, x] = True
    return found


def test_a_share_by_hand() -> None:
    heat = np.array([[4.0, -9.0, np.nan], [1.0, 3.0, np.nan]])
    shares = as_shares(heat)
    assert shares is not None
    assert shares.tolist() == [[0.5, 0, 0], [0.125, 0.375, 0]]
    seen = ~np.isnan(heat)
    assert share(shares, seen, Place(mask((0, 0), (0, 2)))) == (0.5, 0.25)  # the third column wasn't seen
    assert share(shares, seen, Place(mask((0, 2), (1, 2)))) is None  # none of it was seen
    assert share(shares, seen, Place(mask())) is None
    assert share(shares, seen, None) is None
    assert share(None, seen, Place(mask((0, 0)))) is None
    # the pixel that counts neither way is no part of the evidence, nor of the picture
    assert share(shares, seen, Place(mask((0, 0)), mask((1, 1)))) == (pytest.approx(0.5 / 0.625), pytest.approx(1 / 3))
    assert as_shares(np.array([[-1.0, 0.0], [np.nan, -3.0]])) is None


def test_the_share_is_the_energy_pointing_games() -> None:
    for _ in range(20):
        raw = torch.from_numpy(RANDOM.normal(size=(8, 8)))
        where, ignore = RANDOM.random((8, 8)) < 0.3, RANDOM.random((8, 8)) < 0.2
        truth = Truth("thing", mask=where & ~ignore, ignore=ignore)
        toy = Toy(raw, truth)
        found = share(as_shares(toy.heat), np.ones((8, 8), dtype=bool), Place(where & ~ignore, ignore))
        told = energy(toy)
        assert found is not None
        assert told is not None
        assert found[0] == pytest.approx(told[0], abs=1e-6)


def test_what_is_misplaced_lies_in_any_suspect_or_else_outside_the_object() -> None:
    shares = np.array([[0.5, 0.1, 0.1], [0.1, 0.1, 0.1]])
    seen = np.ones((2, 3), dtype=bool)
    object_, left, first = Region("object", False), Region("left", True), Region("first", True)
    places = {"object": Place(mask((1, 2))), "left": Place(mask((0, 0), (1, 0))), "first": Place(mask((0, 0), (0, 1)))}
    both = misplaced(shares, seen, places, [object_, left, first])
    assert both == (pytest.approx(0.7), 0.5)  # the pixel in both counts once
    assert misplaced(shares, seen, places, [object_]) == (pytest.approx(0.9), pytest.approx(5 / 6))
    assert misplaced(shares, seen, places | {"left": None}, [left, first]) == (pytest.approx(0.6), pytest.approx(1 / 3))
    assert misplaced(shares, seen, {"left": None}, [left]) is None
    assert misplaced(shares, seen, {"left": Place(mask())}, [left]) == (0, 0)  # it is known that there is none
    assert misplaced(shares, seen, {}, []) is None
    assert misplaced(None, seen, places, [left]) is None


def test_draws_take_a_pictures_rows_together_as_a_slow_loop_does() -> None:
    pictures = ["a", "b", "a", "c", "b", "d"]
    above, below = np.array([1.0, 2, 3, np.nan, 5, 6]), np.array([2.0, 2, 1, 1, np.nan, 3])
    found = Draws(pictures, 5).ratios([(above, below)])[0]
    names = ["a", "b", "c", "d"]
    counts = np.random.default_rng(5).multinomial(4, [0.25] * 4, size=DRAWS)
    slow = []
    for drawn in counts:
        top = bottom = 0.0
        for name, times in zip(names, drawn, strict=True):
            for place, picture in enumerate(pictures):
                if picture == name and not np.isnan(above[place] + below[place]):
                    top += times * above[place]
                    bottom += times * below[place]
        if bottom:
            slow.append(top / bottom)
    assert found.value == pytest.approx((1 + 2 + 3 + 6) / (2 + 2 + 1 + 3))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(slow, [2.5, 97.5])))
    assert found.count == 3


def test_many_pictures_are_drawn_in_blocks_of_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, values = [str(n) for n in range(50)], RANDOM.normal(size=50)
    [whole_] = Draws(pictures, 1).means([values])
    monkeypatch.setattr("sightline.audit.estimates.AT_ONCE", 170)
    [again] = Draws(pictures, 1).means([values])
    assert (again.value, again.low, again.high) == pytest.approx((whole_.value, whole_.low, whole_.high), abs=1e-12)


def test_figures_of_nothing_are_none() -> None:
    assert Draws([], 0).means([np.array([])]) == [Estimate(None, None, None, 0)]
    assert Draws(["a"], 0).means([np.array([np.nan])]) == [Estimate(None, None, None, 0)]
    assert Draws(["a"], 0).means([np.array([0.25])]) == [Estimate(0.25, 0.25, 0.25, 1)]
    assert estimate(np.array([np.nan, 1.0]), 1) == Estimate(None, None, None, 1)


def test_the_interval_covers_what_it_should() -> None:
    random, hits = np.random.default_rng(1), 0
    for _ in range(300):
        values = random.exponential(size=60)
        found = Draws(list(range(60)), 0).means([values])[0]
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 1 <= found.high
    assert 0.90 <= hits / 300 <= 0.98  # of skewed numbers; 95 % of very many


def test_the_interval_of_a_ratio_covers_what_it_should() -> None:
    random, hits = np.random.default_rng(2), 0
    for _ in range(300):
        area = random.uniform(0.05, 0.15, size=40)
        evidence = area * random.gamma(2, size=40)  # twice the area on the mean
        found = Draws(list(range(40)), 0).ratios([(evidence, area)])[0]
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 2 <= found.high
    assert 0.89 <= hits / 300 <= 0.98


def test_a_paired_difference_is_surer_than_its_sides() -> None:
    before = RANDOM.normal(size=100)
    draws = Draws(list(range(100)), 0)
    first, second, difference = draws.means([before, before + 0.1, np.full(100, 0.1)])
    assert first.high is not None
    assert second.low is not None
    assert first.high > second.low
    assert (difference.low, difference.high) == (pytest.approx(0.1), pytest.approx(0.1))


def test_a_frame_holds_what_lies_under_it() -> None:
    shares = RANDOM.random((7, 5))
    shares /= shares.sum()
    frame = (0.5, -1.0, 4.0, 6.0)
    found = in_frame(shares, frame, 3)
    slow = np.zeros((3, 3))
    fine = 60  # samples a pixel
    for y in range(7 * fine):
        for x in range(5 * fine):
            across, down = ((x + 0.5) / fine - 0.5) / 3.5 * 3, ((y + 0.5) / fine + 1) / 7 * 3
            if 0 <= across < 3 and 0 <= down < 3:
                slow[int(down), int(across)] += shares[y // fine, x // fine] / fine**2
    assert found == pytest.approx(slow, abs=1e-3)
    assert whole(shares).sum() == pytest.approx(1, abs=1e-6)
    assert whole(shares).shape == (32, 32)


def test_a_box_spans_the_middle_half() -> None:
    shares = np.zeros((20, 40))
    shares[8:12, 10:20] = 1 / 40  # all of it in the box
    cells = in_frame(shares, around((10, 8, 20, 12)))
    assert cells[8:24, 8:24] == pytest.approx(np.full((16, 16), 1 / 256))
    assert cells.sum() == pytest.approx(1)
    assert around((10, 8, 20, 12)) == (5, 6, 25, 14)


@pytest.fixture
def two(tmp_path: Path) -> Run:
    """A picture asked about both its classes, and one predicted wrong."""
    return kept(
        tmp_path / "run",
        [
            row("p", np.ones((4, 4)), labels=["A_", "n02"], target="a", index=0),
            row("p", np.ones((4, 4)), labels=["A_", "n02"], target="b", index=1),
            row("q", np.ones((4, 4)), labels=["n02"], target="b", index=1, place=1, correct=False, label="n02"),
        ],
    )


def test_the_object_is_the_targets_own(two: Run) -> None:
    left, right = Truth("A_", boxes=((0, 0, 2, 4),)), Truth("n02", boxes=((2, 0, 4, 4), (2, 0, 3, 1)))
    data = marks({"p": [left, right], "q": [right]}, (4, 4))
    places = Places(two, {"object": data, "all": data}, {})
    first, second, third = (places.of(each) for each in two.rows())
    assert first["object"] is not None
    assert second["object"] is not None
    assert third["object"] is not None
    assert first["object"].mask.tolist() == [[True, True, False, False]] * 4  # `A_` is spelled as a person says `a`
    assert second["object"].mask.tolist() == [[False, False, True, True]] * 4  # q says what n02 means
    assert second["object"].box == (2, 0, 4, 4)
    assert third["object"].mask.tolist() == second["object"].mask.tolist()
    assert first["all"] is not None
    assert first["all"].mask.all()


def test_what_isnt_in_the_picture_was_to_be_looked_for_in_all_that_is(tmp_path: Path) -> None:
    run = kept(tmp_path, [row("p", np.ones((4, 4)), labels=["b"], asked="predicted", correct=False)])
    data = marks({"p": [Truth("b", boxes=((0, 0, 2, 4),)), Truth("c", boxes=((3, 0, 4, 4),))]}, (4, 4))
    place = Places(run, {"object": data}, {}).of(next(run.rows()))["object"]
    assert place is not None
    assert place.mask.tolist() == [[True, True, False, True]] * 4


def test_a_picture_is_decoded_once_however_many_rows_are_about_it(two: Run) -> None:
    data = marks({"p": [Truth("a", boxes=((0, 0, 2, 4),))], "q": []}, (4, 4))
    read: list[str] = []
    inner = data.read

    def counted(name: str, entry: object) -> object:
        read.append(name)
        return inner(name, entry)

    object.__setattr__(data, "read", counted)
    run = Run(two.folder, data)
    audit(run, suspects={"mark": data})
    assert read == ["p", "q"]


def test_marks_of_another_size_are_told_and_left_out(two: Run) -> None:
    places = Places(two, {}, {"mark": {"p": np.ones((2, 3), dtype=bool)}})
    assert [places.of(each)["mark"] for each in two.rows()] == [None, None, None]
    assert "mark: p is marked on 3 x 2 pixels, it has 4 x 4 (2 pictures)" in places.lines()


def look(picture: str, evidence: float, **others: object) -> Look:
    values = {
        "picture": picture, "place": 0, "content": picture, "labels": ("a",), "about": {}, "index": 0, "target": "a",
        "predicted": "a", "correct": True, "right": True, "probability": 0.9, "shares": {"mark": (evidence, 0.1)},
        "misplaced": (evidence, 0.1),
    } | others  # fmt: skip
    return Look(**values)  # type: ignore[arg-type]


def test_the_gap_is_between_the_subgroups_furthest_apart() -> None:
    parts = [
        (name, [look(f"{name}{n}", value + 0.01 * n) for n in range(10)])
        for name, value in (("x", 0.2), ("y", 0.5), ("z", 0.3))
    ]
    found = gap(parts, [Region("mark", True)], 0)
    assert found is not None
    assert (found.more, found.less, found.difference.value) == ("y", "x", pytest.approx(3))
    assert found.of == 3
    assert gap(parts[:1], [Region("mark", True)], 0) is None
    one = [*parts, ("alone", [look("alone", 0.9)])]
    assert gap(one, [Region("mark", True)], 0) == found  # of one picture nothing is concluded


def test_the_greatest_of_many_gaps_is_seldom_luck() -> None:
    random, sure = np.random.default_rng(0), 0
    for _ in range(60):
        parts = [(f"g{n}", [look(f"{n} {k}", 0.1 * random.gamma(4, 0.25)) for k in range(30)]) for n in range(6)]
        found = gap(parts, [Region("mark", True)], 0)
        assert found is not None
        assert found.of == 15
        sure += (found.difference.low or 0.0) > 0
    assert sure <= 8  # of 60; more than half without Bonferroni's interval


def test_a_region_that_is_larger_in_a_subgroup_makes_no_gap() -> None:
    small = ("small", [look(f"s{n}", 0.1 + 0.001 * n, shares={"mark": (0.1 + 0.001 * n, 0.1)}) for n in range(12)])
    large = ("large", [look(f"l{n}", 0.4 + 0.004 * n, shares={"mark": (0.4 + 0.004 * n, 0.4)}) for n in range(12)])
    found = gap([small, large], [Region("mark", True)], 0)
    assert found is not None
    assert found.difference.value == pytest.approx(0)


def test_a_label_that_is_another_of_the_models_names_is_the_targets_own(tmp_path: Path) -> None:
    truths = Truth("moggy", boxes=((0, 0, 2, 4),)), Truth("dog", boxes=((2, 0, 4, 4),))
    data = marks({"p": list(truths), "q": list(truths)}, (4, 4))
    common = {"labels": ["moggy", "dog"], "target": "tabby, moggy"}
    rows = [row("p", np.ones((4, 4)), label="moggy", **common)]
    rows.append(row("q", np.ones((4, 4)), asked="predicted", place=1, **common))
    places = Places(kept(tmp_path, rows), {"object": data}, {})
    for each in places.run.rows():
        place = places.of(each)["object"]
        assert place is not None
        assert place.mask.tolist() == [[True, True, False, False]] * 4


def test_pairs_are_of_the_same_picture_content_and_target() -> None:
    before = [look("p", 0.1), look("q", 0.1), look("r", 0.1, target="b")]
    after = [look("q", 0.2, content="new"), look("p", 0.2), look("r", 0.2)]
    pairs, alone = paired(before, after, by_target=True)
    assert [(this.picture, that.picture) for this, that in pairs] == [("p", "p")]
    assert alone == 4
    assert len(paired(before, after, by_target=False)[0]) == 2


def test_the_evidence_is_kept_as_a_table(two: Run, tmp_path: Path) -> None:
    from pyarrow import parquet

    half = np.zeros((4, 4), dtype=bool)
    half[:, 0] = True
    found = audit(two, suspects={"mark": {"p": half}})
    table = parquet.read_table(save_evidence(found, tmp_path / "audit")).to_pylist()
    assert table[0] == {
        "picture": "p", "place": 0, "target": "a", "index": 0, "method": "grad-cam", "region": "mark", "suspect": True,
        "share": pytest.approx(0.25), "area": 0.25,
    }  # fmt: skip
    assert (table[2]["picture"], table[2]["share"], table[2]["area"]) == ("q", None, None)
    assert len(table) == 3
    assert list(table[0]) == [column.name for column in EVIDENCE]
