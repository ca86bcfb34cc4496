"""The engine ray: the same rows as on one machine, also where workers die; its errors are one line."""

import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import sightline
from sightline.datasets import open_data
from sightline.errors import DataError, MethodError
from sightline.runs import Run, run
from sightline.runs.columns import COLUMNS
from sightline.runs.query import query
from sightline.trials import DataSet, Sample

PICTURES, PART, BATCH = 20, 4, 2
STUMBLED = 9  # the picture at which a worker dies, in the third of five parts


@dataclass
class Perilous:
    """A data set of which one picture does something to who reads it in another process than this, `times` times."""

    data: DataSet
    deed: str
    folder: Path
    times: int = 1
    here: int = field(default_factory=os.getpid)

    def __getattr__(self, name: str) -> Any:
        if name == "data":  # not yet unpickled
            raise AttributeError(name)
        return getattr(self.data, name)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, place: int) -> Sample:
        if place == STUMBLED and os.getpid() != self.here and len(list(self.folder.iterdir())) < self.times:
            (self.folder / str(os.getpid())).touch()
            if self.deed == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.deed == "bug":
                raise KeyError("a bug of one's own")
        return self.data[place]


def perilous(tmp_path: Path, deed: str, times: int = 1) -> Perilous:
    (tmp_path / "done").mkdir()
    return Perilous(open_data(f"scenes:shapes:count={PICTURES}"), deed, tmp_path / "done", times)


def explained(data: DataSet, folder: Path, **options: Any) -> Run:
    model = sightline.load("shapes", device="cpu")
    return run(model, data, ["predicted", "label"], folder=folder, part_size=PART, batch_size=BATCH, **options)


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    """One Ray for the module; more CPUs by name than there are, since every actor reserves one."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray = pytest.importorskip("ray")
        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_a_worker_is_killed_and_the_table_is_the_one_machines_bit_for_bit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = perilous(tmp_path, "die")
    told: list[tuple[int, int]] = []
    found = explained(
        data, tmp_path / "ray", engine="ray", actors=2, cpus=0.5, progress=lambda *each: told.append(each)
    )
    assert len(list(data.folder.iterdir())) == 1
    assert told[0] == (0, PICTURES)
    assert told[-1] == (PICTURES, PICTURES)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert capsys.readouterr().out == ""
    expected = explained(data, tmp_path / "local", workers=0)
    columns = [column.name for column in COLUMNS]
    assert found.question == expected.question
    assert found.table(["place"])["place"].unique().to_pylist() == list(range(PICTURES))
    assert found.table(columns).equals(expected.table(columns))
    assert [part.name for part in found.parts] == [part.name for part in expected.parts]
    assert not list((tmp_path / "ray" / "rows").glob(".*"))


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_what_stops_a_worker_is_one_line_at_once_and_the_run_goes_on(tmp_path: Path) -> None:
    data = perilous(tmp_path, "bug")
    with pytest.raises(DataError, match=r"^a worker stopped at part 2: KeyError: \"a bug of one's own\"") as raised:
        explained(data, tmp_path / "run", engine="ray", actors=1, cpus=0.5)
    assert "__getitem__" in raised.value.__notes__[0]
    assert 2 not in {int(part.stem.partition("-")[2]) for part in Run(tmp_path / "run", data).parts}
    gone_on = explained(data, tmp_path / "run", workers=0)
    counts = "count(*) AS n, count(DISTINCT (place, asked, target)) AS once, count(DISTINCT place) AS pictures"
    found = query(gone_on, f"SELECT {counts} FROM run").to_pylist()[0]
    assert found["n"] == found["once"] > PICTURES == found["pictures"]


@pytest.mark.usefixtures("_ray")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gpus": 1}, "no node has room for an actor of 1 CPUs and 1 GPUs; the largest have 4 CPUs and 0 GPUs"),
        ({"cpus": 64}, "no node has room for an actor of 64 CPUs"),
        ({"actors": 0}, "0 actors can't do anything"),
        ({"cpus": 0}, "an actor of 0 CPUs and 0 GPUs can't be made"),
    ],
    ids=["gpus", "cpus", "actors", "nothing"],
)
def test_what_ray_would_wait_for_for_ever_is_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        explained(open_data("scenes:shapes:count=4"), tmp_path, engine="ray", **options)


def test_without_ray_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DataError, match=r'pip install "sightline\[cluster\]"'):
        explained(open_data("scenes:shapes:count=4"), tmp_path, engine="ray")


def test_a_finished_run_starts_no_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_data("scenes:shapes:count=4")
    explained(data, tmp_path, workers=0)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert len(explained(data, tmp_path, engine="ray").parts) == 1


class _Counts:
    """A stand-in for the counter: the part has been begun so many times."""

    def __init__(self, times: int) -> None:
        self.begin = self
        self.times = times

    def remote(self, part: int) -> int:
        return self.times


def test_a_part_that_kills_its_worker_again_and_again_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an answer of the worker, which is raised where the run was begun; errors of ours keep their kind."""
    from sightline.runs import cluster

    class Job:
        def __init__(self) -> None:
            self.wrote: list[int] = []

        def places(self, part: int) -> Sequence[int]:
            return range(PART)

        def write(self, part: int) -> None:
            if part == 1:
                raise MethodError("not on this model")
            self.wrote.append(part)

    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "get", lambda given: given)
    for times, said in (
        (1 + cluster.AGAIN, ""),
        (2 + cluster.AGAIN, "part 7 killed the worker that was at it 4 times"),
    ):
        job = Job()
        worker = cluster._Worker([job], _Counts(times), "/nowhere", [], None)
        answer = {name: cells[0] for name, cells in worker({"item": [7]}).items()}
        assert job.wrote == ([] if said else [7])
        assert answer["failed"] == ("DataError" if said else "")
        if said:
            with pytest.raises(DataError, match=said):
                cluster._fail(answer)
    worker = cluster._Worker([Job()], _Counts(1), "/nowhere", [], None)
    with pytest.raises(MethodError, match=r"^not on this model$"):
        cluster._fail({name: cells[0] for name, cells in worker({"item": [1]}).items()})
