"""What a run costs: python benchmarks/runs.py rates|several|memory --write docs/scale.md [--rounds 3] [--count 64].

Rates: the same JPEGs (500 x 375, generated) asked in turns by a plain forward pass over images that are there already
(the floor), by reading and then asking in a loop, and by runs: reading in a thread, in a process, with overlays.
Several: one process, two of torchrun and two actors of Ray, of one thread each, beside a plain forward pass with as
many threads as there are cores. Their starts don't count: a rate is taken from when each has written a part to when
the last part is written, so let there be a dozen parts for each (parts are of 16 pictures here). Memory: the resident
set of a run over 20,000 small generated pictures and of the process that reads for it; then seconds of queries on that
run's table.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import count
from pathlib import Path

import torch
from measuring import FLOOR, Table, in_floors, timed
from rich.console import Console

import sightline
from sightline.datasets import open_data
from sightline.model import Model
from sightline.runs import Run, run
from sightline.runs.query import EXAMPLES
from sightline.trials import DataSet

BATCH, PART = 16, 16
SEVERAL = {"one process": 1, "torchrun, two": 2, "Ray, two actors": 2}
MODELS = ("squeezenet1_1", "resnet50")
WIDE = (500, 375)
AFTER = (1000, 5000, 10000, 20000)
QUERIES = (
    *(example.sql for example in EXAMPLES),
    "SELECT picture, list_sum([greatest(v, 0) FOR v IN map]) AS energy FROM run ORDER BY energy DESC LIMIT 10",
)


def drawn(folder: Path, pictures: int) -> Path:
    """JPEGs of generated scenes, each in a folder of its class, as wide as photos are."""
    scenes = open_data(f"scenes:shapes:count={pictures}")
    for place in range(pictures):
        sample = scenes[place]
        (folder / sample.truths[0].label).mkdir(parents=True, exist_ok=True)
        sample.picture.resize(WIDE).save(folder / sample.truths[0].label / f"{place:05}.jpg", quality=90)
    return folder


def loaded(name: str) -> Model:
    return sightline.load(name, weights="random", device="cpu")


def in_turn(model: Model, data: DataSet) -> None:
    """Read, preprocess, ask; then the next batch."""
    with torch.inference_mode():
        for start in range(0, len(data), BATCH):
            samples = [data[place] for place in range(start, min(start + BATCH, len(data)))]
            model.module(torch.stack([model.preprocess(sample.picture) for sample in samples]))


def throughput(model: Model, pictures: Path, work: Path, rounds: int) -> list[str]:
    """A row of the table: pictures/s of the floor, and each way's rate in parts of it."""
    data, number = open_data(pictures), count()
    with torch.inference_mode():
        images = torch.stack([model.preprocess(data[place].picture) for place in range(len(data))]).split(BATCH)

    def floor() -> None:
        with torch.inference_mode():
            for each in images:
                model.module(each)

    def explained(**options: object) -> Callable[[], object]:
        return lambda: run(
            model, data, folder=work / f"{model.name}-{next(number)}", batch_size=BATCH, part_size=PART, **options
        )

    calls: dict[str, Callable[[], object]] = {
        FLOOR: floor,
        "read, then ask": lambda: in_turn(model, data),
        "run, a thread reads": explained(workers=0),
        "run, a process reads": explained(workers=1),
        "run with overlays": explained(workers=1, overlays=True),
    }
    seconds = timed(calls, rounds)
    ratios = in_floors(seconds)
    rate = len(data) / min(seconds[FLOOR])
    return [model.name, f"{rate:.1f}"] + [f"{1 / ratios[name]:.2f}" for name in calls if name != FLOOR]


def several(name: str, pictures: Path, work: Path) -> list[str]:
    """Pictures/s of a plain forward pass, one process, two that torchrun starts and two actors of Ray."""
    model, image = loaded(name), torch.rand(BATCH, 3, 224, 224)
    with torch.inference_mode():
        model.module(image)
        spent = timed({"forward": lambda: model.module(image)}, 8)["forward"]
    rates = [f"{BATCH / min(spent):.1f}"]
    for how, workers in SEVERAL.items():
        starter = ["-m", "torch.distributed.run", "--nproc-per-node=2"] if "torchrun" in how else []
        folder = work / f"{name}-{how[:3]}"
        asked = [sys.executable, *starter, __file__, "worker", name, str(pictures), str(folder), how]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        written = sorted(part.stat().st_mtime for part in Run(folder).parts)
        rates.append(f"{(len(written) - workers) * PART / (written[-1] - written[workers - 1]):.1f}")
    return [name, *rates]


def worker(name: str, pictures: str, folder: str, how: str) -> None:
    """One of several, with one thread."""
    torch.set_num_threads(1)
    more = {"engine": "ray", "actors": 2} if how.startswith("Ray") else {"workers": 0}
    run(loaded(name), pictures, folder=folder, batch_size=BATCH, part_size=PART, **more)


def resident(pid: int) -> float:
    """MB of a process's resident set, as Linux counts it."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def memory(pictures: int, folder: Path) -> tuple[list[list[str]], Run, float]:
    """Rows of resident MB after so many pictures, the run, and its pictures/s."""
    rows: list[list[str]] = []
    left, readers = [after for after in AFTER if after <= pictures], 0.0
    began = time.perf_counter()

    def told(done: int, of: int) -> None:
        nonlocal readers
        if left and done >= left[0] - BATCH:  # at the very end the reading process is gone
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            readers = sum(resident(int(pid)) for pid in children) or readers
        if left and done >= left[0]:
            rows.append([f"{left.pop(0):,}", f"{resident(os.getpid()):.0f}", f"{readers:.0f}"])
            print(*rows[-1], file=sys.stderr)

    model = sightline.load("shapes", device="cpu")
    data = f"scenes:shapes:count={pictures}:size=64"
    kept = run(model, data, folder=folder, workers=1, progress=told)
    return rows, kept, pictures / (time.perf_counter() - began)


def asked(kept: Run) -> list[list[str]]:
    rows = []
    for sql in QUERIES:
        spent = []
        for _ in range(3):
            start = time.perf_counter()
            kept.query(sql)
            spent.append(time.perf_counter() - start)
        rows.append([f"`{sql}`", f"{min(spent):.2f}"])
    return rows


def rates(models: list[str], pictures: int, rounds: int, work: Path) -> list[Table]:
    files = drawn(work / "pictures", pictures)
    ways = ["read, then ask", "run, a thread reads", "run, a process reads", "run with overlays"]
    return [
        Table(
            f"Rates of one process, in parts of the plain forward pass's (median of {rounds} rounds)",
            ["model", "forward, pictures/s", *ways],
            [throughput(loaded(name), files, work, rounds) for name in models],
        ),
    ]


def together(models: list[str], pictures: int, work: Path) -> list[Table]:
    files = drawn(work / "pictures", pictures)
    rows = [several(name, files, work) for name in models]
    return [Table("Pictures/s of several, one thread each", ["model", "plain forward, all cores", *SEVERAL], rows)]


def held(pictures: int, work: Path) -> list[Table]:
    rows, kept, rate = memory(pictures, work / "memory")
    size = sum(part.stat().st_size for part in kept.parts) / pictures
    return [
        Table(
            f"Resident MB of a run over {pictures:,} generated pictures of 64 px ({rate:.0f} pictures/s)",
            ["after", "the run", "the process that reads for it"],
            rows,
        ),
        Table(f"Seconds of queries on its {pictures:,} rows ({size:.0f} bytes each)", ["SQL", "seconds"], asked(kept)),
    ]


def main() -> None:
    """Print the tables, and write them into a page if one is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("rates", "several", "memory", "worker"))
    parser.add_argument("given", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=96)
    parser.add_argument("--pictures", type=int, default=20000)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    if options.what == "worker":
        worker(*options.given)
        return
    with tempfile.TemporaryDirectory() as root:
        if options.what in ("rates", "several"):
            models = options.models.split(",")
            tables = (
                rates(models, options.count, options.rounds, Path(root))
                if options.what == "rates"
                else together(models, options.count, Path(root))
            )
            about = (
                f"; {options.count} JPEGs of {WIDE[0]} x {WIDE[1]}, batches of {BATCH}, Grad-CAM of the predicted "
                "class, random weights; the forward pass's rate is its best round's"
            )
        else:
            tables, about = held(options.pictures, Path(root)), "; the embedded net of shapes, queries the best of 3"
    said = (
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {os.cpu_count()} CPU cores (load "
        f"{os.getloadavg()[2]:.0f}), {torch.get_num_threads()} threads, torch {version('torch')}, "
        f"ray {version('ray')}, duckdb {version('duckdb')}{about}."
    )
    for table in tables:
        table.show(Console(width=200))
    print(said)
    if options.write:
        start, end = f"<!-- {options.what} -->", f"<!-- end of {options.what} -->"
        before, _, rest = options.write.read_text(encoding="utf-8").partition(start)
        figures = "\n\n".join([said, *(f"#{table.markdown().rstrip()}" for table in tables)])
        options.write.write_text(f"{before}{start}\n\n{figures}\n\n{end}{rest.partition(end)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
