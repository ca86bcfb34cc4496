"""sightline run, as a user meets it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sightline.cli import main
from sightline.cli.run import _clock, _figure, _Pace, _shard
from sightline.datasets import open_data
from sightline.errors import DataError
from sightline.runs import Run

DATA = "scenes:shapes:count=12"
ASKED = ("run", DATA, "--model", "shapes", "--workers", 0)

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Exit code, stdout and stderr of the command, in this process."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def command(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sightline", *map(str, args)])
        monkeypatch.setattr(sys, "path", list(sys.path))
        with pytest.raises(SystemExit) as ended:
            main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    return command


def test_it_explains_and_says_what_it_found(run: Command, tmp_path: Path) -> None:
    code, out, err = run(*ASKED, "-t", "predicted", "-t", "label", "--part", 5, "--overlays", "-o", tmp_path)
    found = Run(tmp_path)
    table = found.table().to_pylist()
    right = {row["place"]: row["correct"] for row in table}
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"12 pictures, {len(table)} rows of grad-cam, layer features"
    assert lines[1] == f"shapes predicts {100 * sum(right.values()) / 12:.1f} % of the pictures rightly"
    assert lines[2].endswith(" in all")
    assert "pictures/s" in lines[2]
    assert lines[-2] == f"wrote {tmp_path}: 3 files in rows/, {len(table)} pictures in overlays/"
    assert lines[-1].startswith("note: answered by the embedded 9-class net")
    assert all((tmp_path / row["overlay"]).is_file() for row in table)


def test_json_is_for_scripts_and_the_same_command_goes_on(run: Command, tmp_path: Path) -> None:
    asked = (*ASKED, "-o", tmp_path, "--part", 4, "--json", "--methods", "grad-cam,layer-cam", "--sample", 10)
    code, out, err = run(*asked, "--shard", "2/3")
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert (facts["pictures"], facts["of"], facts["rows"], facts["parts"]) == (4, 10, 8, 1)
    (tmp_path / "rows" / "part-000001.parquet").touch()
    before = (tmp_path / "rows" / "part-000001.parquet").stat().st_mtime_ns
    facts = json.loads(run(*asked)[1])
    assert (facts["pictures"], facts["rows"], facts["errors"]) == (10, 20, 0)
    assert facts["rate"] > 0
    assert (tmp_path / "rows" / "part-000001.parquet").stat().st_mtime_ns == before
    again = json.loads(run(*asked)[1])
    assert again["rate"] is None
    assert {**again, "rate": 0, "seconds": 0} == {**facts, "rate": 0, "seconds": 0}
    spec = json.loads((tmp_path / "run.json").read_text())["spec"]
    assert spec == dict.fromkeys(("weights", "labels", "size", "fit", "mean", "std")) | {"name": "shapes"}


def test_a_part_of_a_run_says_that_it_isnt_all(run: Command, tmp_path: Path) -> None:
    _, out, _ = run(*ASKED, "-o", tmp_path, "--part", 4, "--shard", "1/3")
    assert "not done yet: 8 of 12 pictures" in out


def test_errors_are_shown_counted_and_the_exit_code(run: Command, tmp_path: Path) -> None:
    pictures = tmp_path / "in" / "star"
    pictures.mkdir(parents=True)
    open_data(DATA)[0].picture.save(pictures / "good.png")
    for n in range(7):
        (pictures / f"bad-{n}.jpg").write_bytes(b"")
    (tmp_path / "in" / "[zebra]").mkdir()
    Image.new("RGB", (30, 30)).save(tmp_path / "in" / "[zebra]" / "z.png")
    asked = ("run", tmp_path / "in", "--model", "shapes", "--workers", 0, "-t", "label", "-o", tmp_path / "out")
    code, out, err = run(*asked)
    assert (code, err) == (1, "")
    assert "errors: 8 of 9 rows, in 8 of 9 pictures" in out
    assert "  [zebra]/z.png: the model knows no class '[zebra]'\n  star/bad-0.jpg: " in out
    assert "star/bad-3.jpg" in out
    assert "star/bad-4.jpg" not in out
    assert "and more: sightline query" in out
    assert "0.0 % of the 1 picture with a label that it knows rightly" in out
    assert "folder is no run" not in out


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--shard", "2"), "shard '2' can't be read; expected i/n"),
        (("--shard", "4/2"), "shard 4/2 can't be made"),
        (("--engine", "dask"), "choose local or ray"),
        (("--actors", 2), "can be set for the engine ray only"),
        (("-t", "dgo"), "no class 'dgo'"),
        (("--methods", "grad-cm"), "grad-cam"),
        (("--workers", -1), "workers"),
    ],
)
def test_what_cant_be_done_is_one_line(run: Command, tmp_path: Path, more: tuple[object, ...], told: str) -> None:
    code, out, err = run(*ASKED, "-o", tmp_path / "out", *more)
    assert (code, out) == (2, "")
    assert told in err
    assert len(err.splitlines()) == 1


def test_another_run_in_the_folder_is_refused_and_fresh_begins_again(run: Command, tmp_path: Path) -> None:
    run(*ASKED, "-o", tmp_path)
    code, _, err = run(*ASKED, "-o", tmp_path, "--batch", 3)
    assert code == 2
    assert "its batch was 16, now it is 3; choose another folder, or --fresh to begin again" in err
    assert run(*ASKED, "-o", tmp_path, "--batch", 3, "--fresh")[0] == 0
    assert Run(tmp_path).question["batch"] == 3


def test_of_torchruns_processes_one_speaks(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert run(*ASKED, "-o", tmp_path, "--part", 6) == (0, "", "")
    monkeypatch.setenv("RANK", "0")
    assert "12 pictures" in run(*ASKED, "-o", tmp_path, "--part", 6)[1]


def test_the_rate_counts_only_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 5.0, 5.0, 7.0, 15.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    pace = _Pace(lambda _: None)
    pace(100, 1000)
    assert pace.rate is None
    pace(120, 1000)
    assert (pace.rate, str(pace)) == (10.0, "explaining, 10 pictures/s")
    pace(500, 1000)
    assert pace.rate == 40.0
    assert [_figure(rate) for rate in (0.0123, 4.567, 1234.5)] == ["0.0123", "4.57", "1234"]
    assert [_clock(seconds) for seconds in (3.9, 75, 90_061)] == ["0:00:03", "0:01:15", "25:01:01"]


def test_a_shard_is_read() -> None:
    assert _shard("2/8") == (2, 8)
    for text in ("2", "a/b", "/", "1/-2", ""):
        with pytest.raises(DataError, match="expected i/n"):
            _shard(text)
