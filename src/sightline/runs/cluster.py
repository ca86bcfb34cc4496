"""A cluster: Ray Data hands the parts out to actors that hold the model; each writes its parts as one machine would.

A part is written whole or not at all, and another time is the same file, so there is nothing to check-point: an actor
that dies is started again and its part is done again, and a run that was stopped goes on with the parts that miss.
"""

import logging
import os
import socket
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any, NoReturn

from sightline import errors
from sightline.errors import DataError, SightlineError, first_line
from sightline.runs.job import Job
from sightline.runs.local import Told
from sightline.runs.store import file_of

AGAIN = 3  # times that a part is begun again after the actor that worked at it died


def run_parts(
    job: Job,
    parts: Sequence[int],
    progress: Told,
    *,
    actors: int | None = None,
    gpus: float = 0.0,
    cpus: float = 1.0,
    address: str | None = None,
) -> None:
    """Explain some parts of a run on a Ray cluster. `progress` is told of the pictures of these parts.

    `actors` is how many hold the model, by default as many as there is room for; each takes so many `cpus` and `gpus`,
    of which a share (0.125) lets several use one GPU. Used is the Ray that the caller has begun, else the one at
    `address` or RAY_ADDRESS, else one on this machine for as long as the run takes. The run's folder and the pictures
    must be on storage that every node sees under the same path. Raises DataError where Ray isn't installed, can't be
    reached or has no room for an actor, and where a part kills its worker again and again; what a worker raises is
    raised here, at once.
    """
    if actors is not None and actors < 1:
        raise DataError(f"{actors} actors can't do anything; expected 1 or more")
    if not gpus >= 0 or not cpus > 0:
        raise DataError(
            f"an actor of {cpus:g} CPUs and {gpus:g} GPUs can't be made; expected more than 0, and 0 or more"
        )
    total, done = sum(len(job.places(part)) for part in parts), 0
    progress(done, total)
    if not parts:
        return
    with _quiet(), _begun(address, ceil((actors or 1) * cpus)) as ray, _context(ray):
        _check_room(ray, gpus, cpus)
        counter = ray.remote(num_cpus=0, max_restarts=-1)(_Counter).remote()
        count = {"size": min(actors, len(parts))} if actors else {"min_size": 1, "max_size": len(parts)}
        # A block for each part, so that what is lost with an actor is one part.
        rows = ray.data.from_items(list(parts), override_num_blocks=len(parts)).map_batches(
            _Worker,
            fn_constructor_args=([_sent(ray, job)], counter, str(Path.cwd()), sys.path, "cuda" if gpus else None),
            compute=ray.data.ActorPoolStrategy(**count, max_tasks_in_flight_per_actor=1),
            batch_size=1, num_cpus=cpus, num_gpus=gpus or None,
        )  # fmt: skip
        try:
            for row in rows.iter_rows():
                if row["failed"]:
                    _fail(row)
                if not file_of(job.folder, row["part"]).is_file():
                    raise DataError(
                        f"part {row['part']} was written on {row['said']}, but isn't in {job.folder.resolve()} here; "
                        "the folder must be on storage that every node sees under the same path"
                    )
                done += row["pictures"]
                progress(done, total)
        except ray.exceptions.RayError as error:
            raise DataError(f"Ray stopped the run: {first_line(error)}; the same command goes on") from error


class _Counter:
    """An actor that outlives the workers: how often each part was begun."""

    def __init__(self) -> None:
        self.begun: Counter[int] = Counter()

    def begin(self, part: int) -> int:
        self.begun[part] += 1
        return self.begun[part]


class _Worker:
    """An actor: the job with its model, asked for one part after the other."""

    def __init__(
        self, sent: Sequence[Any], counter: Any, folder: str, modules: Sequence[str], device: str | None
    ) -> None:
        self.sent, self.counter, self.device = sent[0], counter, device
        sys.path += [path for path in modules if path not in sys.path]  # a model of one's own may lie anywhere
        if Path(folder).is_dir():
            os.chdir(folder)  # relative paths mean the same as where the run was begun

    @cached_property
    def job(self) -> Job:
        import ray

        job: Job = ray.get(self.sent)
        return job if self.device is None else replace(job, model=job.model.to(self.device))

    def __call__(self, batch: Any) -> dict[str, list[Any]]:
        """One part, and what came of it: errors are answers, lest Ray wrap them, or try again."""
        import ray

        part = int(batch["item"][0])
        failed, said, traced, pictures = "", socket.gethostname(), "", 0
        try:
            if ray.get(self.counter.begin.remote(part)) > 1 + AGAIN:
                raise DataError(
                    f"part {part} killed the worker that was at it {1 + AGAIN} times, as when memory runs out; what is "
                    "written is whole, and the same command goes on: with fewer actors, or a smaller batch"
                )
            pictures = len(self.job.places(part))
            self.job.write(part)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told where the run was begun
            failed, said, traced = type(error).__name__, str(error), traceback.format_exc()
        return {"part": [part], "pictures": [pictures], "failed": [failed], "said": [said], "traced": [traced]}


def _fail(row: Mapping[str, Any]) -> NoReturn:
    """Raise what a worker raised: an error of ours as it was, any other as one line with its traceback as a note."""
    kind = getattr(errors, row["failed"], None)
    if isinstance(kind, type) and issubclass(kind, SightlineError):
        raise kind(row["said"])
    error = DataError(f"a worker stopped at part {row['part']}: {row['failed']}: {first_line(Exception(row['said']))}")
    error.add_note(row["traced"])
    raise error


def _sent(ray: Any, job: Job) -> Any:
    """The job in Ray's store, to be fetched once by each actor; its model without a GPU that not every node has."""
    device = job.model.like.device
    try:
        return ray.put(replace(job, model=job.model.to("cpu"), folder=job.folder.resolve()))
    except (TypeError, AttributeError) as error:  # pickle's
        raise DataError(
            f"the model or the data set can't be sent to other processes ({first_line(error)}); use the local engine"
        ) from error
    finally:
        job.model.to(device)


def _check_room(ray: Any, gpus: float, cpus: float) -> None:
    """Ray would wait for ever for a node that can hold an actor."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        most = {kind: max((node.get(kind, 0) for node in nodes), default=0) for kind in ("CPU", "GPU")}
        raise DataError(
            f"no node has room for an actor of {cpus:g} CPUs and {gpus:g} GPUs; the largest have {most['CPU']:g} CPUs "
            f"and {most['GPU']:g} GPUs"
        )


@contextmanager
def _begun(address: str | None, least: int) -> Iterator[Any]:
    """Ray, begun here unless the caller has; then it is ended, or left, here too."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as error:
        raise DataError('a cluster needs Ray; pip install "sightline[cluster]"') from error
    if ray.is_initialized():
        yield ray
        return
    address = address or os.environ.get("RAY_ADDRESS")
    own = {} if address else {"num_cpus": max(least, os.cpu_count() or 1), "include_dashboard": False}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise DataError(f"no Ray at {address or 'this machine'} ({first_line(error)})") from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray's talk of dead workers goes to stderr, as stdout may be a script's; its own deprecations are not ours."""
    with warnings.catch_warnings(), redirect_stdout(sys.stderr):
        warnings.filterwarnings("ignore", module=r"ray(\.|$)")
        yield


@contextmanager
def _context(ray: Any) -> Iterator[None]:
    """Ray Data without bars of its own, and without its limit on how long a part may take."""
    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    set_here = {
        "enable_progress_bars": False,
        "print_on_execution_start": False,
        "execution_no_progress_timeout_s": -1,
    }
    before = {name: getattr(context, name) for name in set_here if hasattr(context, name)}
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    for name in before:
        setattr(context, name, set_here[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)
        logger.setLevel(level)
