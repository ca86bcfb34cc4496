"""An audit as a whole: the planted bias is found, and what is asked wrongly is said in a line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hand_runs import kept, marks, row

import sightline
from sightline.audit import Audit, Level, audit
from sightline.datasets import open_data
from sightline.errors import DataError
from sightline.methods import method
from sightline.runs import Run, run
from sightline.trials import Truth

BALANCED = "scenes:shortcut:count=120:rho=0:marker=random"
FEW = "scenes:shortcut:count=96:rho=0:marker=random"
MARKED = BALANCED + ":truth=marker"
SEEDS = 0, 1, 2


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Run]:
    """Every biased net and every balanced one over the same balanced pictures."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        (rho, seed): run(
            sightline.load(f"shortcut-{rho}-{seed}"), BALANCED, ("label",), folder=folder / f"{rho}-{seed}"
        )
        for rho in ("0.9", "0")
        for seed in SEEDS
    }  # fmt: skip


def audited(found: Run, **asked: Any) -> Audit:
    return audit(found, suspects={"marker": open_data(MARKED)}, clusters=False, **asked)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_planted_bias_is_found_where_the_marker_agrees_and_the_accuracy_mends(
    runs: dict[tuple[str, int], Run], seed: int
) -> None:
    biased = audited(runs["0.9", seed], by="agrees")
    balanced = audited(runs["0", seed], by="agrees", before=runs["0.9", seed])
    for one in biased.classes:
        assert (one.verdict.level, one.verdict.blamed) == (Level.BIASED, ("marker",)), one.verdict
        agrees = {group.name: group.shares[1].lift.low for group in one.subgroups}["agrees=yes"]
        assert agrees is not None
        assert agrees > 1.3
        assert one.gap is not None
        assert (one.gap.region.name, one.gap.more, one.gap.less) == ("marker", "agrees=yes", "agrees=no")
    for one in balanced.classes:
        assert one.verdict.level in (Level.CLEAR, Level.UNSURE), one.verdict
        assert one.verdict.blamed == ()
    right = {
        rho: np.array(runs[rho, seed].table(["correct"])["correct"].to_pylist(), dtype=float) for rho in ("0.9", "0")
    }
    change = balanced.changes[0]
    assert change.accuracy[0].value == pytest.approx(right["0.9"].mean())
    assert change.accuracy[1].value == pytest.approx(right["0"].mean())
    assert change.accuracy[2].value == pytest.approx((right["0"] - right["0.9"]).mean())
    assert change.accuracy[2].low is not None
    assert change.accuracy[2].low > 0
    assert change.evidence["marker"][2].high is not None
    assert change.evidence["marker"][2].high < 0
    assert [each.name for each in balanced.changes] == ["all pictures", "cross", "star"]
    assert [group.name for group in balanced.subgroups] == ["agrees=no", "agrees=yes"]


def test_without_metadata_and_model_the_biased_net_is_never_called_clear(runs: dict[tuple[str, int], Run]) -> None:
    for rho, levels in (("0.9", {Level.BIASED, Level.UNSURE}), ("0", {Level.CLEAR})):
        assert {one.verdict.level for one in audited(runs[rho, 0]).classes} <= levels


@pytest.mark.parametrize("rho", ["0.9", "0"])
def test_the_planted_bias_is_found_by_hiding_the_marker(rho: str, tmp_path: Path) -> None:
    model = sightline.load(f"shortcut-{rho}-0")
    kept = run(model, FEW, ("label",), folder=tmp_path)
    found = audit(kept, suspects={"marker": open_data(FEW + ":truth=marker")}, model=model, clusters=False)
    for one in found.classes:
        marker = next(each for each in one.hidden if each.region.name == "marker")
        assert marker.beyond.value is not None
        if rho == "0":
            assert (one.verdict.level, one.verdict.blamed) == (Level.CLEAR, ())
            assert marker.beyond.value < 0.02
        else:
            assert (one.verdict.level, one.verdict.blamed) == (Level.BIASED, ("marker",)), one.verdict
            assert marker.beyond.value > 0.05


def test_the_same_seed_gives_the_same_audit(tmp_path: Path) -> None:
    kept = run(sightline.load("shortcut-0.9-0"), FEW, ("label",), folder=tmp_path)
    first, second = (audit(kept, suspects={"marker": open_data(FEW + ":truth=marker")}) for _ in range(2))
    for this, that in zip(first.classes, second.classes, strict=True):
        assert (this.verdict, this.misplaced, this.all.shares) == (that.verdict, that.misplaced, that.all.shares)
        assert [group.examples for group in this.clusters] == [group.examples for group in that.clusters]
        assert this.all.average is not None
        assert that.all.average is not None
        assert this.all.average.equal(that.all.average)


HALF = Truth("a", boxes=((0, 0, 2, 4),))  # the left half of 4 x 4 pixels


def hand(folder: Path, shares: dict[str, tuple[float, str]], **others: Any) -> Run:
    """Pictures of 4 x 4 pixels with such a share of the evidence in the left half, each of a class."""
    rows = []
    for place, (name, (share, target)) in enumerate(shares.items()):
        cells = [[share / 8] * 2 + [(1 - share) / 8] * 2] * 4
        index = {"a": 0, "b": 1}[target]
        rows.append(row(name, cells, place=place, target=target, index=index, labels=[target], **others))
    return kept(folder, rows)


def test_classes_are_ranked_by_how_much_evidence_lies_where_it_should_not(tmp_path: Path) -> None:
    shares = {f"a{n}": (0.2, "a") for n in range(40)} | {f"b{n}": (0.7, "b") for n in range(40)}
    data = marks({name: [HALF] for name in shares}, (4, 4))
    found = audit(hand(tmp_path, shares), suspects={"mark": data})
    assert [one.name for one in found.classes] == ["b", "a"]
    assert [one.misplaced.value for one in found.classes] == pytest.approx([0.7, 0.2], abs=1e-3)
    assert [one.verdict.level for one in found.classes] == [Level.BIASED, Level.CLEAR]
    assert found["b"].all.shares[0].lift.value == pytest.approx(1.4, abs=1e-3)
    assert found["b"].all.shares[0].area == 0.5
    # the object instead: what lies outside it is misplaced, and the order turns
    turned = audit(hand(tmp_path, shares), regions={"object": data})
    assert [one.name for one in turned.classes] == ["a", "b"]
    assert [one.misplaced.value for one in turned.classes] == pytest.approx([0.8, 0.3], abs=1e-3)
    assert [one.verdict.level for one in turned.classes] == [Level.BIASED, Level.CLEAR]
    assert "looks elsewhere" in turned["a"].verdict.words


def test_without_regions_there_are_averages_and_clusters_and_no_verdict(tmp_path: Path) -> None:
    found = audit(hand(tmp_path, {f"p{n}": (0.75, "a") for n in range(12)}))
    one = found["a"]
    assert one.verdict.level is Level.UNKNOWN
    assert one.misplaced.value is None
    assert one.all.average is not None
    assert float(one.all.average[:, :16].sum()) == pytest.approx(0.75, abs=1e-3)
    assert one.all.aligned is None
    assert [group.pictures for group in one.clusters] == [12]
    assert found.problems == ("where the objects are isn't known: pictures was given as an object; give it again, as "
                              f"Run('{tmp_path}', data)",)  # fmt: skip


def test_one_picture_is_told_and_nothing_concluded(tmp_path: Path) -> None:
    found = audit(hand(tmp_path, {"p": (0.75, "a")}), suspects={"mark": {"p": np.eye(4, dtype=bool)}}, by=None)
    one = found["a"]
    assert one.verdict.level is Level.UNKNOWN
    assert "Only 1 picture" in one.verdict.words
    assert (one.misplaced.value, one.misplaced.low, one.misplaced.count) == (
        pytest.approx(0.25),
        pytest.approx(0.25),
        1,
    )


def test_empty_maps_and_pictures_with_errors_are_told(tmp_path: Path) -> None:
    rows = [row(f"p{n}", np.full((4, 4), -1.0 if n < 3 else 1.0)) for n in range(12)]
    error = dict.fromkeys(rows[0]) | {"picture": "bad", "place": 99, "error": "bad.png can't be read"}
    data = marks({f"p{n}": [HALF] for n in range(12)}, (4, 4))
    found = audit(kept(tmp_path, [*rows, error], data))
    assert found.problems == ("bad: bad.png can't be read", "3 of 12 maps are nowhere above zero, and hold no evidence")
    assert found["a"].all.pictures == 12
    assert found["a"].all.shares[0].evidence.count == 9
    assert found["a"].all.shares[0].lift.value == pytest.approx(1, abs=1e-6)


def test_subgroups_are_sorted_and_what_isnt_said_is_unknown(tmp_path: Path) -> None:
    rows = [
        row(
            f"p{n}",
            np.ones((4, 4)),
            about={"light": "night" if n % 2 else "day"} if n < 8 else {},
            correct=n % 4 == 0,
            rank=0 if n % 4 == 0 else 3,
        )
        for n in range(12)
    ]
    found = audit(kept(tmp_path, rows), by="light")
    assert [(group.name, group.pictures) for group in found.subgroups] == [
        ("light=day", 4), ("light=night", 4), ("light=unknown", 4),
    ]  # fmt: skip
    assert [group.accuracy.value for group in found.subgroups] == [0.5, 0, 0.25]
    assert (found["a"].right.pictures, found["a"].wrong.pictures) == (3, 9)


def test_a_column_that_makes_no_subgroups_is_refused(tmp_path: Path) -> None:
    found = kept(tmp_path, [row(f"p{n}", np.ones((4, 4)), about={"number": str(n)}) for n in range(13)])
    with pytest.raises(DataError, match=r"'number' has 13 values .* expected 12 at most"):
        audit(found, by="number")
    with pytest.raises(DataError, match="no picture has a 'light'; of the pictures is said: number"):
        audit(found, by="light")


def test_what_is_asked_wrongly_is_said(tmp_path: Path) -> None:
    found = hand(tmp_path / "one", {"p": (0.5, "a")})
    mask = {"p": np.ones((4, 4), dtype=bool)}
    with pytest.raises(DataError, match="no maps by 'rise'; its methods: grad-cam"):
        audit(found, method="rise")
    with pytest.raises(DataError, match="mark is a region and a suspect one"):
        audit(found, regions={"mark": mask}, suspects={"mark": mask})
    with pytest.raises(DataError, match="says nothing of where things are"):
        audit(found, regions={"mark": open_data_of_classes(tmp_path)})
    with pytest.raises(DataError, match="has the weights"):
        audit(found, model=sightline.load("shapes"))
    with pytest.raises(DataError, match="no picture in common"):
        audit(found, before=hand(tmp_path / "other", {"q": (0.5, "a")}))
    with pytest.raises(DataError, match="seed=-1 is below 0"):
        audit(found, seed=-1)
    with pytest.raises(DataError, match="top=-1 is below 0"):
        audit(found, top=-1)
    with pytest.raises(DataError, match="holds no run"):
        audit(tmp_path / "nowhere")


def open_data_of_classes(folder: Path) -> Any:
    from PIL import Image

    (folder / "pictures").mkdir()
    Image.new("RGB", (4, 4)).save(folder / "pictures/p.png")
    return open_data(folder / "pictures")


def test_a_data_set_without_a_picture_of_the_run_is_named(tmp_path: Path) -> None:
    found = audit(hand(tmp_path, {"p": (0.5, "a")}), suspects={"mark": marks({"q": [HALF]}, (4, 4), "others")})
    assert "no picture of pictures is in others, which should say where mark is" in found.problems
    assert found["a"].verdict.level is Level.UNKNOWN


def test_labels_are_audited_before_predictions(tmp_path: Path) -> None:
    rows = [
        row("p", np.ones((4, 4)), asked=asked, target=target, index=index)
        for asked, target, index in (("predicted", "b", 1), ("label", "a", 0), ("dog", "dog", 2))
    ]
    found = audit(kept(tmp_path, rows))
    assert [one.name for one in found.classes] == ["a"]
    assert found.problems[0] == "rows asked for dog, predicted: those asked for label are audited"


def test_changes_are_paired_by_picture_and_content(tmp_path: Path) -> None:
    before = kept(tmp_path / "b", [row(f"p{n}", np.ones((4, 4)), correct=n % 2 == 0) for n in range(12)])
    rows = [row(f"p{n}", np.ones((4, 4)), correct=True) for n in range(2, 14)]
    rows[0]["content"] = "another picture of the same name"
    found = audit(kept(tmp_path / "a", rows), before=before)
    change = found.changes[0]
    assert change.pictures == 9
    assert [each.value for each in change.accuracy] == pytest.approx([4 / 9, 1, 5 / 9])
    assert "6 rows of the two runs have no other to compare with: another picture or target" in found.problems


def test_a_class_is_found_by_its_name_or_its_index(tmp_path: Path) -> None:
    rows = [
        row(name, np.ones((4, 4)), target=name, index=n, place=n)
        for n, name in enumerate(["cross", "star", "crane", "crane"])
    ]
    rows[3]["picture"] = "another crane"
    found = audit(kept(tmp_path, rows))
    assert (found["star"].index, found[0].name, found[3].name) == (1, "cross", "crane")
    with pytest.raises(DataError, match="no class 'corss' was audited; nearest: cross"):
        found["corss"]
    with pytest.raises(DataError, match="no class 9 was audited"):
        found[9]
    with pytest.raises(DataError, match=r"2 classes are called 'crane': crane \(2\), crane \(3\)"):
        found["crane"]


def test_folders_names_of_data_and_methods_are_taken_as_they_are(tmp_path: Path) -> None:
    data = "scenes:shortcut:count=4:rho=0:marker=random"
    made = run(sightline.load("shortcut-0-0"), data, ("label",), folder=tmp_path)
    opened = audit(made, suspects={"marker": open_data(f"{data}:truth=marker")})
    named = audit(
        str(tmp_path), suspects={"marker": f"{data}:truth=marker"}, before=tmp_path, method=method("grad-cam")
    )
    assert [one.verdict for one in named.classes] == [one.verdict for one in opened.classes]
    assert named.changes[0].evidence["marker"][2].value == 0
    with pytest.raises(DataError, match="no maps by 'rise:masks=9'"):
        audit(tmp_path, method=method("rise").set(masks=9))


def test_a_run_that_isnt_finished_is_told(tmp_path: Path) -> None:
    rows = [row(f"p{n}", np.ones((4, 4)), place=n, asked=asked) for n in range(4) for asked in ("label", "predicted")]
    unfinished = "4 of 6 pictures: the run isn't finished, the same `sightline run` goes on"
    assert unfinished in audit(kept(tmp_path / "some", rows, pictures=6)).problems
    assert not any("the run isn't finished" in line for line in audit(kept(tmp_path / "all", rows)).problems)


def test_a_class_is_right_where_it_was_found_and_a_picture_counts_once(tmp_path: Path) -> None:
    both = {"labels": ["a", "b"], "correct": True}  # of both labels only `a` was said
    rows = [row("p", np.ones((4, 4)), rank=0, label="a", **both)]
    rows += [row("p", np.ones((4, 4)), rank=2, label="b", target="b", index=1, **both)]
    rows += [row("q", np.ones((4, 4)), rank=1, label="a", place=1, **both)]
    rows += [row("r", np.ones((4, 4)), rank=1, label="a", place=2, correct=False)]
    found = audit(kept(tmp_path / "run", rows))
    assert found["a"].all.accuracy.value == pytest.approx(2 / 3)  # second of two counts, second of one doesn't
    assert found["b"].all.accuracy.value == 0
    assert (found["b"].right.pictures, found["b"].wrong.pictures) == (0, 1)
    assert [each.right for each in found["b"].wrong.examples] == [False]
    assert found.everything.accuracy.value == pytest.approx(2 / 3)  # of three pictures, not of four rows
    change = audit(tmp_path / "run", before=tmp_path / "run").changes
    assert [each.accuracy[1].value for each in change] == pytest.approx([2 / 3, 2 / 3, 0])


def test_a_picture_counts_once_in_a_class_though_two_targets_may_be_the_same(tmp_path: Path) -> None:
    rows = [row("p", np.ones((4, 4)), asked=asked) for asked in ("a", "top:2")]
    rows.append(row("p", np.ones((4, 4)), asked="top:2", target="b", index=1))
    found = audit(kept(tmp_path, rows))
    assert [(look.picture, look.target) for look in found.looks] == [("p", "a"), ("p", "b")]
