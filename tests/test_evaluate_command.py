"""sightline evaluate, and explain --check, as a user meets them."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image
from test_cli import run

from sightline.cli.explain import sample


@pytest.fixture(scope="module")
def boxed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures of the pagoda with a box, one that is broken, and one without its file."""
    root = tmp_path_factory.mktemp("boxed")
    with Image.open(sample()) as china:
        china.resize((160, 120)).save(root / "a.jpg")
        china.resize((320, 240)).save(root / "b.jpg")
    (root / "broken.jpg").write_bytes(b"not a picture")
    rows = [
        ("a.jpg", 40, 20, 120, 90),
        ("b.jpg", 80, 40, 240, 180),
        ("broken.jpg", 0, 0, 9, 9),
        ("gone.jpg", 0, 0, 9, 9),
    ]
    with (root / "boxes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "x0", "y0", "x1", "y1"])
        writer.writerows([name, "church", *box] for name, *box in rows)
    return root


def test_evaluate_prints_a_table_names_bad_files_and_writes_a_report(boxed: Path, tmp_path: Path) -> None:
    code, out, err = run(
        "evaluate", boxed, "--methods", "grad-cam,saliency", "--metrics", "pointing,energy", "-o", tmp_path
    )
    assert (code, err) == (1, "")
    header, *lines = out.splitlines()
    assert header.split() == ["method", "pointing", "↑", "energy", "↑", "empty", "tied"]
    assert [line.split("  ")[0] for line in lines[:2]] == ["grad-cam", "saliency"]
    for control in ("random", "uniform", "centre", "edges", "grad-cam, weights drawn anew"):
        assert any(line.startswith(control) for line in lines), control
    assert "2 pictures, 2 maps by each method, layer features" in out
    assert "broken.jpg is no picture that can be read" in out
    assert "gone.jpg" in out
    report = (tmp_path / "report.html").read_text()
    assert "gone.jpg" in report
    assert "no better than" in report
    facts = json.loads((tmp_path / "evaluation.json").read_text())
    assert facts["rows"][0]["figures"]["pointing"]["value"] == 100.0


def test_json_has_what_scripts_need_and_the_same_question_goes_on(boxed: Path, tmp_path: Path) -> None:
    asked = ("evaluate", boxed, "--metrics", "pointing:tolerance=0", "--json", "-o", tmp_path, "--no-controls")
    code, out, _ = run(*asked)
    facts = json.loads(out)
    assert code == 1
    assert [row["name"] for row in facts["rows"]] == ["grad-cam"]
    assert facts["metrics"][0]["name"] == "pointing:tolerance=0"
    assert facts["pictures"] == 2
    assert len(facts["problems"]) == 2
    kept = (tmp_path / "trials.jsonl").read_text()
    again = json.loads(run(*asked)[1])
    assert again == facts
    assert (tmp_path / "trials.jsonl").read_text().startswith(kept)
    code, _, err = run(*asked, "--seed", 1)
    assert code == 2
    assert "holds another evaluation: its seed was 0, now it is 1" in err
    assert run(*asked, "--seed", 1, "--fresh")[0] == 1


def test_questions_that_cannot_be_asked_are_one_line(boxed: Path, tmp_path: Path) -> None:
    for wrong, said in (
        (("--metrics", "seed-miou"), "seed-miou needs masks"),
        (("--metrics", "pointin"), "no metric 'pointin'; nearest: 'pointing'"),
        (("--methods", "gradcamm"), "no method 'gradcamm'"),
        (("--attack", "zebra"), "no class 'zebra'"),
    ):
        code, out, err = run("evaluate", boxed, *wrong, "-o", tmp_path / "never")
        assert (code, out) == (2, "")
        assert said in err
        assert len(err.strip().splitlines()) == 1
    code, _, err = run("evaluate", tmp_path / "nowhere", "-o", tmp_path / "never")
    assert code == 2
    assert "nowhere" in err


def test_scenes_need_no_data(tmp_path: Path) -> None:
    code, out, err = run(
        "evaluate",
        "scenes:shapes:count=6",
        "--model",
        "shapes",
        "--methods",
        "grad-cam",
        "--metrics",
        "pointing",
        "-o",
        tmp_path,
    )
    assert (code, err) == (0, "")
    assert "6 pictures" in out


def test_metrics_lists_the_table() -> None:
    names = [row["name"] for row in json.loads(run("metrics", "--json")[1])]
    assert names[0] == "pointing"
    assert {"deletion", "insertion", "localization", "road", "parameter-randomisation"} <= set(names)
    assert "pointing" in run("metrics")[1]


def test_explain_says_whether_to_believe_it(tmp_path: Path) -> None:
    code, out, err = run("explain", "--check", "-o", tmp_path)
    assert (code, err) == (0, "")
    assert "china.jpg, church: no reason for doubt: it changes with the class" in out
    row = json.loads(run("explain", "--check", "--json", "-o", tmp_path)[1])[0]
    assert row["check"]["believed"]
    assert [check["name"] for check in row["check"]["checks"]] == ["class", "weights", "hiding"]
    code, out, _ = run("explain", "--check", "--method", "edges", "-o", tmp_path)
    assert code == 0
    assert "don't believe it: other classes have the same map" in out
