"""The command line as a user meets it: files, JSON, exit codes, and errors in one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rows import ROWS
from typer.testing import CliRunner

import sightline
from sightline.cli import app
from sightline.cli.explain import sample

runner = CliRunner()


def run(*args: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the installed command."""
    env = os.environ | {"COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "sightline", *map(str, args)], capture_output=True, text=True, env=env, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good pictures of one name in two folders, and a bad one."""
    root = tmp_path_factory.mktemp("pictures")
    (root / "sub").mkdir()
    with Image.open(sample()) as china:
        china.resize((160, 120)).save(root / "a.jpg")
        china.resize((120, 160)).save(root / "sub" / "a.png")
    (root / "broken.jpg").write_bytes(b"not a picture")
    return root


def test_explain_without_a_picture_explains_the_sample_and_says_who_answered(tmp_path: Path) -> None:
    code, out, err = run("explain", "-o", tmp_path)
    assert (code, err) == (0, "")
    assert "china.jpg  church" in out
    assert "ten" in out or "10-class" in out
    assert "--model resnet50" in out
    assert "grad-cam at layer features of photos (bundled): the last feature map with space, 10 x 10" in out
    with Image.open(tmp_path / "china-church-grad-cam.png") as shown:
        assert shown.width == 640
    assert np.load(tmp_path / "china-church-grad-cam.npy").shape == (10, 10)


def test_json_has_what_scripts_need(tmp_path: Path) -> None:
    code, out, _ = run("explain", sample(), "-t", "church", "-t", "not:parachute", "--json", "-o", tmp_path)
    rows = json.loads(out)
    assert code == 0
    assert [row["target"] for row in rows] == [
        {"name": "church", "index": 4},
        {"name": "against parachute", "index": 9},
    ]
    for row in rows:
        x0, y0, x1, y1 = row["box"]
        x, y = row["peak"]
        assert 0 <= x0 < x1 <= 640
        assert 0 <= y0 < y1 <= 427
        assert 0 <= x < 640
        assert 0 <= y < 427
        assert all(Path(file).is_file() for file in row["files"])
        assert (row["model"], row["layer"], row["method"]) == ("photos", "features", "grad-cam")
        assert 0 <= row["probability"] <= 1
    assert rows[0]["score"] > rows[1]["score"]


def test_a_batch_goes_on_past_a_bad_file_and_exits_non_zero(folder: Path, tmp_path: Path) -> None:
    code, out, err = run("explain", folder, "no/such.jpg", "--json", "-o", tmp_path)
    rows = json.loads(out)
    assert code == 1
    assert [Path(row["picture"]).name for row in rows] == ["a.jpg", "a.png"]
    assert len({file for row in rows for file in row["files"]}) == 4  # nothing was overwritten
    assert "2 could not be explained" in err
    assert "broken.jpg" in err
    assert "no/such.jpg" in err
    assert len(err.strip().splitlines()) == 3


def test_plain_overlays_have_the_pictures_own_size(folder: Path, tmp_path: Path) -> None:
    code, out, _ = run("explain", str(folder / "*.jp*g"), "--plain", "--box", "--json", "-o", tmp_path)
    assert code == 1  # broken.jpg
    (row,) = json.loads(out)
    with Image.open(row["files"][0]) as shown:
        assert shown.size == (160, 120)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--target", "chruch"], "no class 'chruch' among 10; nearest: 'church' (4)"),
        (["--target", "77"], "no class 77: the model has 10 classes"),
        (["--layer", "featurs"], "no layer 'featurs' in SmallResNet; nearest: 'features'"),
        (["--method", "grad-cim"], "no method 'grad-cim'; nearest: 'grad-cam'"),
        (["--model", "resnet5O"], "no model 'resnet5O'; nearest:"),
        (["--weights", "none.safetensors"], "no weights file 'none.safetensors'"),
        (["--fit", "stretch"], "no way 'stretch' to fit a picture; choose crop, squash or pad"),
        (["--size", "big"], "size 'big' can't be read"),
        (["--mean", "a,b"], "expected numbers"),
        (["--dtype", "int8"], "choose float32, bfloat16 or float16"),
        (["--device", "tpu9"], "device 'tpu9'"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_two(tmp_path: Path, args: list[str], message: str) -> None:
    from sightline.errors import SightlineError

    result = runner.invoke(app, ["explain", str(sample()), "-o", str(tmp_path), *args])
    assert isinstance(result.exception, SightlineError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)


def test_errors_reach_the_terminal_in_one_line(tmp_path: Path) -> None:
    code, out, err = run("explain", "-t", "chruch", "-o", tmp_path)
    assert (code, out) == (2, "")
    assert err.strip() == "error: no class 'chruch' among 10; nearest: 'church' (4)"


def test_an_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, _, err = run("explain", "-o", tmp_path / "file")
    assert code == 2
    assert "can't be written to" in err
    assert len(err.strip().splitlines()) == 1


def test_size_and_fit_change_what_the_model_sees(tmp_path: Path) -> None:
    code, out, _ = run("explain", "--size", "96x128", "--fit", "crop", "--json", "-o", tmp_path)
    (row,) = json.loads(out)
    assert code == 0
    assert row["framing"]["image"] == [128, 96]
    assert np.load(row["files"][1]).shape == (6, 8)
    assert row["framing"]["seen"] != [0, 0, 640, 427]


def test_half_precision_answers_nearly_the_same(tmp_path: Path) -> None:
    shares = []
    for dtype in ("float32", "bfloat16"):
        _, out, _ = run("explain", "-t", "church", "--dtype", dtype, "--json", "-o", tmp_path / dtype)
        shares.append(json.loads(out)[0]["probability"])
    assert shares[0] == pytest.approx(shares[1], abs=0.05)


@pytest.mark.filterwarnings("ignore::sightline.methods.integrated_gradients.CompletenessWarning")
def test_compare_draws_every_method_on_one_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with what it cost, and those left out that the model is nothing for; here with few samples and masks."""
    few = (row.set(window=80, stride=40) if row.name == "occlusion" else row for row in ROWS)
    rows = tuple(row for row in few if row.name not in ("score-cam", "ss-cam", "is-cam"))
    monkeypatch.setattr(sightline.methods, "METHODS", rows)
    asked = ["compare", "--methods", "all", "-t", "church", "-t", "parachute", "-o", str(tmp_path)]
    done = runner.invoke(app, [*asked, "--json"], catch_exceptions=False)
    facts = json.loads(done.stdout)
    transformers = ["attention-rollout", "attention-relevance", "legrad"]
    names = [row.name for row in rows if row.name not in transformers]
    assert [fact["method"] for fact in facts[::2]] == names
    assert {fact["target"]["name"] for fact in facts} == {"church", "parachute"}
    costs = {fact["method"]: fact["passes"] for fact in facts}
    assert costs["grad-cam"] == "1 forward, 1 back"
    assert costs["rise"] == "13 forwards"
    assert costs["ablation-cam"] == "2 forwards, 256 heads"
    with Image.open(facts[0]["files"][0]) as sheet:
        assert sheet.width < 8 * 360  # four methods, two targets each, in a row
        assert sheet.height > len(names) / 4 * 200


def test_compare_takes_options_and_a_seed(tmp_path: Path) -> None:
    asked = ["compare", "--methods", "rise:masks=6:cells=3,grad-cam", "-t", "church", "--json", "-o", tmp_path]
    first, second, other = (json.loads(run(*asked, "--seed", seed)[1]) for seed in (1, 1, 2))
    assert first == second
    assert first[0]["options"] == {"masks": 6, "cells": 3, "keep": 0.5}
    assert (first[0]["seed"], first[0]["passes"], first[0]["layer"]) == (1, "7 forwards", "image")
    assert first[0]["peak"] != other[0]["peak"]
    assert first[1] | {"seed": 2} == other[1]
    code, _, err = run("compare", "--methods", "rise:mask=6", "-o", tmp_path)
    assert code == 2
    assert "rise has no option 'mask'" in err


def test_compare_leaves_out_by_name_what_is_not_defined(tmp_path: Path) -> None:
    code, out, _ = run("compare", "--methods", "cam,grad-cam", "--layers", "features.0", "-o", tmp_path)
    assert code == 0
    assert "left out: cam needs a linear head after layer 'features.0'" in out
    code, _, err = run("compare", "--methods", "cam", "--layers", "features.0", "-o", tmp_path)
    assert code == 2
    assert "use grad-cam" in err


def test_methods_and_models_print_the_tables() -> None:
    from sightline import METHODS

    code, out, _ = run("methods", "--json")
    assert code == 0
    assert [row["name"] for row in json.loads(out)] == [method.name for method in METHODS]
    code, out, _ = run("models", "resnet", "--json")
    names = {(row["name"], row["source"]) for row in json.loads(out)}
    assert code == 0
    assert ("resnet50", "torchvision") in names
    assert ("photos", "bundled") in {(row["name"], row["source"]) for row in json.loads(run("models", "--json")[1])}


def test_help_names_every_command_and_the_version_is_the_packages() -> None:
    from sightline import __version__

    code, out, _ = run("--help")
    assert code == 0
    assert all(name in out for name in ("explain", "compare", "models", "methods"))
    assert run("--version")[1].strip() == f"sightline {__version__}"
