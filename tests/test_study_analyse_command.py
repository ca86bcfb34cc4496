"""sightline study analyse as a user meets it, and what a study's maps would answer themselves."""

import csv
import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from test_cli import run

import sightline
from sightline.cli.study import analyse as analyse_command
from sightline.errors import DataError
from sightline.regions import Heat
from sightline.runs import Row, Run
from sightline.runs import run as explain_all
from sightline.study import Key, Kind, Study, Trial, analyse, build
from sightline.study.answers import add
from sightline.study.proxy import proxy
from sightline.study.simulated import People, imagined, simulate
from sightline.study.words import probability, told, told_apart

EFFECT = {"guided-backprop": 0.5, "guided-grad-cam": 0.9}


@pytest.fixture
def answered(tmp_path: Path) -> Path:
    """A study that eight simulated people have answered, and one who is always quick."""
    study = imagined(Kind.DISCRIMINATION, list(EFFECT), 16, 8)
    study.save(tmp_path)
    quick = [
        each.__class__("quick", each.trial, each.answer, 0.5, each.at)
        for each in simulate(study, People(EFFECT, 1), seed=9)
    ]
    for each in [*simulate(study, People(EFFECT, 8)), *quick]:
        add(tmp_path, each)
    return tmp_path


def test_the_tables_the_words_and_the_files(answered: Path) -> None:
    code, out, err = run("study", "analyse", answered)
    assert (code, err) == (0, "")
    first, header, backprop, guided, *_ = out.splitlines()
    assert first.startswith("discrimination: 144 answers of 9 participants to 16 pictures")
    assert header.split() == ["method", "answers", "right", "p,", "chance", "agreement", "seconds", "paper"]
    assert backprop.split()[-2:] == ["44.44", "%"]
    assert guided.split()[-2:] == ["61.23", "%"]
    assert "guided-backprop - guided-grad-cam" in out
    assert "quick (half of the answers within 2 seconds; kept, see --drop): quick" in out
    assert "Participants told the class better than chance by guided-grad-cam (" in out
    assert "By guided-backprop (" in out
    facts = json.loads((answered / "analysis.json").read_text())
    row = next(each for each in facts["methods"] if each["method"] == "guided-grad-cam")
    assert f"{100 * row['figure']['value']:.0f} % [{100 * row['figure']['low']:.0f}, " in guided
    with (answered / "answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 144
    own = [float(each["value"]) for each in rows if each["method"] == "guided-grad-cam"]
    assert row["figure"]["value"] == pytest.approx(np.mean(own))


def test_json_is_alone_on_stdout_and_whoever_is_dropped_is_told(answered: Path) -> None:
    code, out, _ = run("study", "analyse", answered, "--json", "--drop", "quick")
    facts = json.loads(out)
    assert code == 0
    assert (facts["answers"], facts["answers left out"], facts["dropped for"]) == (128, 16, ["quick"])
    assert [each["participant"] for each in facts["participants"] if each["dropped"]] == ["quick"]


def test_answers_from_files_come_in_once_and_bad_ones_are_told(answered: Path, tmp_path: Path) -> None:
    study = Study.load(answered)
    told = [{"trial": name, "answer": 0, "seconds": 4.0, "at": "2026-01-01T00:00:00Z"} for name in study.orders[1]]
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps({"participant": "ann", "answers": told}))
    bad.write_text("{")
    code, out, err = run("study", "analyse", answered, "--answers", good, "--answers", bad, "--drop", "quick")
    assert code == 1
    assert "dropped for quick: 1 participant with 16 answers" in out
    assert "brought in 16 answers; 0 were there already" in out
    assert "144 answers of 9 participants" in out
    assert err.startswith("left out: ")
    assert "bad.json" in err
    again = run("study", "analyse", answered, "--answers", good)
    assert (again[0], again[2]) == (0, "")
    assert "brought in 0 answers; 16 were there already" in again[1]


def test_a_trust_study_shows_the_share_of_each_answer(tmp_path: Path) -> None:
    study = imagined(Kind.TRUST, ["guided-backprop", "guided-grad-cam"], 12, 8)
    study.save(tmp_path)
    for each in simulate(study, People({"guided-backprop": 1.0, "guided-grad-cam": 1.27}, 8)):
        add(tmp_path, each)
    code, out, _ = run("study", "analyse", tmp_path)
    assert code == 0
    header, backprop, guided = out.splitlines()[1:4]
    assert header.split()[:10] == ["method", "answers", "score", "p,", "0", "-2", "-1", "0", "+1", "+2"]
    assert (backprop.split()[-1], guided.split()[-1]) == ("+1.00", "+1.27")
    assert "Participants found the better model the more reliable by guided-backprop (+" in out


@pytest.mark.parametrize("width", ["40", "80", None])
def test_no_figure_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: str | None) -> None:
    """In a pipe, and on a narrow terminal, which shows a row a line at a time."""
    effect = {"guided-backprop": 1.0, "guided-grad-cam": -0.5}
    study = imagined(Kind.TRUST, list(effect), 12, 8)
    study.save(tmp_path)
    answers = simulate(study, People(effect, 8))
    for each in answers:
        add(tmp_path, each)
    found = analyse(study, answers)
    if width is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", width)
    for is_terminal in (False, True):
        told_ = StringIO()
        console = Console(file=told_, force_terminal=is_terminal, color_system=None)
        analyse_command._show(console, found, {})
        for each in found.methods:
            figures = [told(each.figure, found.kind), probability(each.sure), f"{100 * each.shares[-2]:.0f} %"]
            assert all(figure in told_.getvalue() for figure in (each.method, *figures))
        (pair,) = found.pairs
        assert pair.difference
        assert told_apart(pair.difference, found.kind) in told_.getvalue()
        lines = told_.getvalue().splitlines()
        if not is_terminal:
            assert len([line for line in lines if line.startswith("guided-")]) == 3


def test_what_is_missing_is_one_line(answered: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    imagined(Kind.TRUST, ["grad-cam"], 2).save(empty)
    for arguments, problem in (
        ((empty,), "nobody has answered this study yet"),
        ((answered, "--run", tmp_path / "none"), "none"),
    ):
        code, out, err = run("study", "analyse", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert problem in err


# the maps' own answers


class Marked:
    """A run whose maps are given, on the first pictures of generated shapes."""

    folder = Path("marked")

    def __init__(self, heats: dict[tuple[str, str], Heat]) -> None:
        self.data, self.heats = sightline.datasets.open_data("scenes:shapes:objects=2:count=2"), heats

    def rows(self, pictures: set[str]) -> list[Row]:
        found = []
        for (picture, target), heat in self.heats.items():
            height, width = heat.shape
            values = {
                "picture": picture, "method": "grad-cam", "target": target, "width": width, "height": height,
                "seen": (0, 0, width, height),
            }  # fmt: skip
            found.append(Row(values, torch.from_numpy(heat.astype(np.float32))))
        return [row for row in found if row["picture"] in pictures]


def two_shapes() -> tuple[Study, "Marked"]:
    """Of the first picture: a map on its class alone, and one with more on the other class but its peak on its own."""
    data = sightline.datasets.open_data("scenes:shapes:objects=2:count=2")
    first = data[0]
    one, two = first.truths
    size = first.picture.size
    ours, theirs = one.region(size), two.region(size)
    mixed = theirs * 1.0
    row, column = np.argwhere(theirs & ~ours)[0]
    on = np.argwhere(ours & ~theirs)[0]
    mixed = ours * 0.01
    mixed[row, column] = mixed[tuple(on)] = 0
    mixed = np.where(theirs & ~ours, 0.5, mixed)
    row, column = np.argwhere(ours & ~theirs)[5]
    mixed[row, column] = 1.0
    key = {
        "a": Key("grad-cam", first.name, "a", right=0),
        "b": Key("grad-cam", first.name, "b", right=1),
    }
    options = (one.label, two.label)
    study = Study(Kind.DISCRIMINATION, "?", (Trial("a", (), options), Trial("b", (), options)), (), key)
    return study, Marked({(first.name, one.label): ours - 2.0 * theirs, (first.name, two.label): mixed})


def test_the_map_answers_for_the_class_that_holds_more_of_it() -> None:
    study, marked = two_shapes()
    energy = {each.trial: each.answer for each in proxy(marked, study)}
    peak = {each.trial: each.answer for each in proxy(marked, study, "peak")}
    assert energy == {"a": 0, "b": 1}
    assert peak == {"a": 0, "b": 0}
    assert analyse(study, proxy(marked, study, "peak"))["grad-cam"].figure.value == 0.5


def test_a_map_that_favours_none_is_left_out_and_none_at_all_is_an_error() -> None:
    study, marked = two_shapes()
    (name, label), _ = list(marked.heats.items())[1]
    marked.heats[name, label] = np.zeros((96, 96))
    assert [each.trial for each in proxy(marked, study)] == ["a"]
    marked.heats.clear()
    with pytest.raises(DataError, match="no map of marked favours a class"):
        proxy(marked, study)
    with pytest.raises(DataError, match="by energy or peak; got discrimination by 'mass'"):
        proxy(marked, study, "mass")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Study, Path]:
    """A study of the embedded net of shapes, as the example builds it."""
    folder = tmp_path_factory.mktemp("built")
    done = explain_all(
        sightline.load("shapes"), "scenes:shapes:objects=2:count=8", ["label"], ["grad-cam", "deconvnet"],
        folder=folder / "run", workers=0,
    )  # fmt: skip
    return done, build(done, folder / "study", kind=Kind.DISCRIMINATION, participants=4), folder


def test_from_a_run_to_the_table_with_the_maps_beside_the_people(built: tuple[Run, Study, Path]) -> None:
    done, study, folder = built
    for each in simulate(study, People({"grad-cam": 0.9, "deconvnet": 0.5}, 4)):
        add(folder / "study", each)
    code, out, err = run("study", "analyse", folder / "study", "--run", folder / "run", "--json")
    assert (code, err) == (0, "")
    maps = json.loads(out)["maps alone"]
    assert maps["energy"]["grad-cam"] > 0.8 > maps["energy"]["deconvnet"]
    regions = {sample.name: {t.label: t.mask for t in sample.truths} for sample in map(done.data.__getitem__, range(8))}
    right = []
    for row in done.rows("grad-cam"):
        own = regions[row["picture"]].pop(row["target"])
        (other,) = regions[row["picture"]].values()
        right.append(row.heat[own & ~other].sum() > row.heat[other & ~own].sum())
        regions[row["picture"]][row["target"]] = own
    assert maps["energy"]["grad-cam"] == np.mean(right)
