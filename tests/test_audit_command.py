"""sightline audit, as a user meets it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_cli import run

import sightline
from sightline.audit.places import Places
from sightline.cli.audit import command
from sightline.datasets import open_data
from sightline.errors import DataError, SightlineError
from sightline.runs import Run
from sightline.runs import run as explain_all

DATA = "scenes:shortcut:count=24:rho=0:marker=random"
MARKER = f"marker={DATA}:truth=marker"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pictures by a net that learnt the marker, and by one that didn't."""
    root = tmp_path_factory.mktemp("runs")
    for name in ("shortcut-0.9-0", "shortcut-0-0"):
        explain_all(sightline.load(name), DATA, ("label",), folder=root / name, spec={"name": name})
    return root


def test_audit_prints_the_ranking_and_writes_what_it_found(runs: Path, tmp_path: Path) -> None:
    biased, balanced = runs / "shortcut-0.9-0", runs / "shortcut-0-0"
    asked = ("audit", biased, "--suspect", MARKER, "--by", "agrees", "--before", balanced, "--confirm", "--no-clusters")
    code, out, err = run(*asked, "-o", tmp_path)
    assert (code, err) == (0, "")
    header, *lines = out.splitlines()
    assert re.split(r"\s{2,}", header.strip()) == [
        "class", "verdict", "evidence in marker", "95 %", "accuracy", "pictures",
    ]  # fmt: skip
    facts = json.loads((tmp_path / "audit.json").read_text())
    for line, one in zip(lines, facts["classes"], strict=False):
        assert re.split(r"\s{2,}", line.strip()) == [
            one["name"],
            f"{ {'biased': '▲', 'unsure': '◆', 'clear': '●', 'unknown': '○'}[one['verdict']['level']]} "
            f"{one['verdict']['level']}",
            f"{100 * one['misplaced']['value']:.1f} %",
            f"{100 * one['misplaced']['low']:.1f} to {100 * one['misplaced']['high']:.1f}",
            f"{100 * one['all']['accuracy']['value']:.1f} %", str(one["all"]["pictures"]),
        ]  # fmt: skip
        assert f"{one['name']}: {one['verdict']['words']}" in out
        assert not one["clusters"]
        assert {hidden["region"]["name"] for hidden in one["hidden"]} == {"object", "marker"}
        assert [group["name"] for group in one["subgroups"]] == ["agrees=no", "agrees=yes"]
    shares = [one["misplaced"]["value"] for one in facts["classes"]]
    assert shares == sorted(shares, reverse=True)
    before, after, _ = facts["changes"][0]["accuracy"]
    assert f"accuracy from {100 * before['value']:.1f} % to {100 * after['value']:.1f} %" in out
    assert facts["everything"]["accuracy"]["value"] == after["value"]
    assert out.splitlines()[-1] == f"wrote {tmp_path / 'report.html'}, audit.json, evidence.parquet"
    assert "Where shortcut-0.9-0 looks" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "evidence.parquet").is_file()


def test_json_is_the_file_and_lies_beside_the_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    biased = runs / "shortcut-0.9-0"
    command(biased, suspect=[MARKER], as_json=True, top=1, full=1)
    facts = json.loads(capsys.readouterr().out)
    assert facts == json.loads((biased / "audit/audit.json").read_text())
    assert facts["regions"] == [{"name": "object", "suspect": False}, {"name": "marker", "suspect": True}]
    assert max(len(one[group]["examples"]) for one in facts["classes"] for group in ("right", "wrong")) == 1
    assert (biased / "audit/report.html").read_text().count('<details class="class"') == 1
    asked = Run(biased).query("SELECT avg(share) AS share FROM evidence WHERE region = 'marker'")
    marker = next(share for share in facts["everything"]["shares"] if share["region"]["name"] == "marker")
    assert asked["share"][0].as_py() == pytest.approx(marker["evidence"]["value"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"suspect": ["marker"]}, "--suspect 'marker' can't be read; expected NAME=DATA, as --suspect water"),
        ({"region": ["=x"]}, "--region '=x' can't be read; expected NAME=DATA"),
        ({"region": ["a="]}, "--region 'a=' can't be read; expected NAME=DATA"),
        ({"suspect": [MARKER, MARKER]}, "--suspect marker is given twice"),
        ({"suspect": [MARKER], "region": [MARKER]}, "marker is a region and a suspect one"),
        ({"object_": DATA, "region": [f"object={DATA}"]}, "object is given by --object and by --region"),
        ({"suspect": ["marker=gone/pictures"]}, "gone/pictures can't be opened"),
        ({"by": "colour"}, "agrees, marker"),
        ({"method": "lime"}, "grad-cam"),
        ({"confirm": True, "model": "shortcut-0-0"}, "shortcut-0-0 has the weights"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_one_line(runs: Path, wrong: dict[str, object], said: str) -> None:
    with pytest.raises(SightlineError) as caught:
        command(runs / "shortcut-0.9-0", **wrong)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_run_or_cannot_be_loaded_again_is_said(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no run"):
        command(tmp_path)
    with pytest.raises(DataError, match="holds no run"):
        command(runs / "shortcut-0.9-0", before=tmp_path)
    explain_all(sightline.load("shortcut-0-0"), "scenes:shortcut:count=2", folder=tmp_path / "python")
    with pytest.raises(DataError, match="nothing in .* says how to load shortcut-0-0; give it by --model"):
        command(tmp_path / "python", confirm=True)


def test_masks_named_without_endings_are_of_pictures_with_them(tmp_path: Path) -> None:
    drawn = open_data(f"{DATA}:truth=marker")
    for folder in ("pictures", "marked/images", "marked/masks"):
        (tmp_path / folder).mkdir(parents=True)
    for place in range(2):
        sample = drawn[place]
        for folder in ("pictures", "marked/images"):
            sample.picture.save(tmp_path / folder / f"{place}.png")
        Image.fromarray(sample.truths[0].mask).save(tmp_path / "marked/masks" / f"{place}.png")
    kept = explain_all(sightline.load("shortcut-0-0"), tmp_path / "pictures", folder=tmp_path / "run")
    places = Places(kept, {}, {"marker": open_data(tmp_path / "marked")})
    for place, row in enumerate(kept.rows()):
        assert row["picture"] == f"{place}.png"
        marker = places.of(row)["marker"]
        assert marker is not None
        assert np.array_equal(marker.mask, drawn[place].truths[0].mask)
