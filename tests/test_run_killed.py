"""Runs that are killed at any instant, that share a folder, and whose disk is full: the rows stay those of a quiet run.

One process is warmed up, so that each kill costs a fork and not an import of torch.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline
from sightline.runs import Run, run

KILLS = 20
DATA = "scenes:shapes:count=60"

WARMED = """
import os, random, resource, signal, sys, time, json
from pathlib import Path
import sightline
from sightline.errors import SightlineError
from sightline.runs import run

root = Path(sys.argv[1])
model = sightline.load("shapes")
asked = dict(
    data="scenes:shapes:count=50", methods=("grad-cam", "saliency"), part_size=1, batch_size=1, overlays=True,
    workers=0,
)

def forked(folder, **limits):
    child = os.fork()
    if child:
        return child
    try:
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, name), (value, value))
        run(model, folder=folder, **asked)
        os._exit(0)
    except SightlineError as error:
        (root / "told").write_text(str(error))
        os._exit(2)
    finally:
        os._exit(3)

def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

began = time.monotonic()
run(model, folder=root / "quiet", **asked)
each = (time.monotonic() - began) / 50

chance = random.Random(0)
kills, code, seen = 0, None, [0]
rows = root / "killed" / "rows"
there = lambda: len(list(rows.glob("part-*")))
while code != 0:
    child = forked(root / "killed")
    if kills < int(sys.argv[2]):
        more = seen[-1] + chance.randrange(3)
        while there() < min(more, 50):
            time.sleep(0.001)
        time.sleep(chance.uniform(0, each))
        os.kill(child, signal.SIGKILL)
    code = ended(child)
    seen.append(there())
    if code == -signal.SIGKILL:
        kills += 1
    elif kills < int(sys.argv[2]):  # it was done before it could be killed: there must be something to do
        code = None
        for part in list(rows.glob("part-*"))[::2]:
            part.unlink()
        seen.append(there())

both = [forked(root / "both") for _ in range(2)]
codes = [ended(child) for child in both]
full = ended(forked(root / "full", RLIMIT_FSIZE=int(sys.argv[3])))
facts = {"kills": kills, "seen": seen, "codes": codes, "full": full, "told": (root / "told").read_text()}
facts["left"] = sorted(file.name for file in (root / "full" / "rows").iterdir())
facts["after"] = ended(forked(root / "full"))
(root / "facts.json").write_text(json.dumps(facts))
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("runs")
    subprocess.run([sys.executable, "-c", WARMED, str(root), str(KILLS), "15000"], check=True)
    return root, json.loads((root / "facts.json").read_text())


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """All rows as plain values, with the maps' bytes."""
    found = Run(folder)
    every = found.table([*found.table().column_names, "map"]).to_pylist()
    for row in every:
        row["map"] = None if row["map"] is None else np.array(row["map"], np.float16).tobytes()
    return every


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_twenty_kills_leave_no_row_lost_or_double(ended: tuple[Path, dict[str, Any]]) -> None:
    root, facts = ended
    assert facts["kills"] == KILLS
    assert len(set(facts["seen"])) > KILLS / 3, "it was killed at work, and not before"
    assert rows_of(root / "killed") == rows_of(root / "quiet")
    assert files_of(root / "killed") == files_of(root / "quiet")


def test_two_processes_on_one_folder_write_the_same_files(ended: tuple[Path, dict[str, Any]]) -> None:
    root, facts = ended
    assert facts["codes"] == [0, 0]
    assert files_of(root / "both") == files_of(root / "quiet")


def test_a_disk_that_is_full_is_a_clear_error_and_the_run_goes_on(ended: tuple[Path, dict[str, Any]]) -> None:
    root, facts = ended
    assert (facts["full"], facts["after"]) == (2, 0)
    assert "can't be written to (File too large)" in facts["told"]
    assert "\n" not in facts["told"]
    assert all(name.startswith("part-") for name in facts["left"])
    assert files_of(root / "full") == files_of(root / "quiet")


def test_the_command_is_killed_with_its_readers_and_goes_on(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "sightline", "run", DATA, "--model", "shapes", "--part", "2",
        "--batch", "2", "--workers", "2", "-o", str(tmp_path / "out"),
    ]  # fmt: skip
    rows = tmp_path / "out" / "rows"
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not list(rows.glob("part-*")) and started.poll() is None:
        time.sleep(0.01)
    readers = children(started.pid)
    started.kill()
    started.communicate()
    assert 0 < len(list(rows.glob("part-*"))) < 30
    assert len(readers) == 2
    waited = time.monotonic()
    while any(alive(reader) for reader in readers) and time.monotonic() - waited < 10:
        time.sleep(0.05)
    assert not any(alive(reader) for reader in readers)
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    facts = json.loads(done.stdout)
    assert (facts["pictures"], facts["rows"], facts["errors"]) == (60, 60, 0)
    quiet = (
        run(sightline.load("shapes"), DATA, folder=tmp_path / "quiet", part_size=2, batch_size=2).table().to_pylist()
    )
    for row, same in zip(Run(tmp_path / "out").table().to_pylist(), quiet):
        assert (row["picture"], row["index"], row["content"]) == (same["picture"], same["index"], same["content"])
        assert row["score"] == pytest.approx(same["score"], rel=1e-4)  # the command may use more threads


def children(process: int) -> list[int]:
    found = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for file in found for child in file.read_text().split()]


def alive(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False
