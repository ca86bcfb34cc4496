"""One machine: processes read pictures, the model is asked in this one, and threads make the rows and write them."""

import os
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch.utils.data import DataLoader, Dataset

from sightline.ahead import ahead
from sightline.errors import DataError, ModelError
from sightline.runs.job import Job, Wrote
from sightline.runs.reading import Batch, Reader
from sightline.runs.rows import Row

MOST_READERS = 8
MAKERS = 4  # threads that make rows while a GPU has the model; a CPU has better to do
BEHIND = 4  # batches whose rows may still be due, so that memory is bounded

Told = Callable[[int, int], None]
"""Called with how many of how many pictures are done."""


def run_parts(job: Job, parts: Sequence[int], progress: Told, *, workers: int | None = None) -> None:
    """Explain some parts of a run, in order. `progress` is told of the pictures of these parts.

    `workers` processes read pictures; 0 reads in a thread of this one. By default, on Linux, one less than there are
    cores for a model on a GPU, else a quarter of them, at most MOST_READERS; on other systems 0. Raises DataError where
    a part can't be written or a reading process dies; parts that are written stay.
    """
    total, done = sum(len(job.places(part)) for part in parts), 0
    progress(done, total)
    rows: list[Row] = []
    due: deque[tuple[Batch, Future[list[Row]]]] = deque()
    writing: deque[Future[Wrote]] = deque()
    batches = _Batches(job, sorted(parts))
    gpu = job.model.like.device.type == "cuda"
    with _reading(batches, _workers(workers, gpu=gpu), gpu) as coming, _threads(gpu) as (making, writer):

        def settle(most: int) -> None:
            """Take over the rows that are made, until no more than so many batches are due."""
            nonlocal rows, done
            while len(due) > most or (due and due[0][1].done()):
                batch, made = due.popleft()
                rows += made.result()
                done += len(batch.pictures)
                if batch.pictures[-1].place == job.places(batch.part)[-1]:
                    writing.append(writer.submit(job.keep, batch.part, rows))
                    rows = []
                progress(done, total)
            while len(writing) > 1 or (writing and writing[0].done()):
                writing.popleft().result()

        for batch in coming:
            due.append((batch, making.submit(job.rows, batch, job.explain(batch))))
            settle(BEHIND)
        settle(0)
        while writing:
            writing.popleft().result()


class _Batches(Dataset[Batch]):
    """All batches of some parts, in order; what a reading process is given."""

    def __init__(self, job: Job, parts: Sequence[int]) -> None:
        self.reader: Reader = job.reader
        self._parts = parts
        self._size, self._batch, self._pictures = job.part_size, job.batch_size, len(job.data)
        self._each = -(-job.part_size // job.batch_size)
        self._last = len(job.batches(parts[-1])) if parts else 0

    def __len__(self) -> int:
        return (len(self._parts) - 1) * self._each + self._last if self._parts else 0

    def __getitem__(self, at: int) -> Batch:
        part = self._parts[at // self._each]
        start = part * self._size + at % self._each * self._batch
        end = min(start + self._batch, (part + 1) * self._size, self._pictures)
        return self.reader(part, range(start, end))


def _workers(asked: int | None, *, gpu: bool) -> int:
    if asked is not None:
        return asked
    if sys.platform != "linux":  # processes that aren't forked begin with the script that runs, guarded or not
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Where the model keeps all cores busy itself, a thread that reads ahead is enough for a few of them.
    return min(cores - 1 if gpu else cores // 4, MOST_READERS)


@contextmanager
def _reading(batches: _Batches, workers: int, pinned: bool) -> Iterator[Iterator[Batch]]:
    """The batches, in order, some of them read ahead."""
    if not workers or not len(batches):
        yield ahead(batches.__getitem__, range(len(batches)))
        return
    loader: DataLoader[Batch] = DataLoader(
        batches, batch_size=None, num_workers=min(workers, len(batches)), pin_memory=pinned, worker_init_fn=_begin,
        generator=torch.Generator(),  # a seed of its own, so that the caller's random state stays
        multiprocessing_context="fork" if sys.platform == "linux" else None,
    )  # fmt: skip
    with warnings.catch_warnings():
        # Its threads hold no lock that a reading process needs: that touches Pillow and NumPy, and torch on one thread.
        warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
        coming = iter(loader)
    try:
        yield coming
    except (RuntimeError, ModelError) as error:
        if "DataLoader worker" not in str(error):
            raise
        raise DataError(
            "a process that reads pictures was killed, as when memory runs out; what is written is whole, and the same "
            "command goes on: with fewer --workers, a smaller --batch, or --workers 0 to read in one process"
        ) from error
    finally:
        del coming


def _begin(worker: int) -> None:
    """A reading process must not outlive the one that it reads for, not even where that is killed."""
    if sys.platform == "linux":
        import ctypes

        parent = os.getppid()
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def _threads(gpu: bool) -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
    """Some that make rows and one that writes them; what hasn't begun when something goes wrong is dropped."""
    making, writer = ThreadPoolExecutor(MAKERS if gpu else 1), ThreadPoolExecutor(1)
    try:
        yield making, writer
    finally:
        making.shutdown(cancel_futures=True)
        writer.shutdown(cancel_futures=True)
