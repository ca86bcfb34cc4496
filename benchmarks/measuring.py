"""How speed and memory are measured: against a floor in the same round, and by every allocation."""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

PIXELS = 224
SAME = 1e-4  # of the map's maximum
FLOOR = "forward"


def timed(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in each round; the calls take turns and another one begins each round."""
    names = list(calls)
    for name in names:
        calls[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            start = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def in_floors(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """The median over rounds of each call's time as a multiple of that round's floor."""
    return {
        name: statistics.median(t / f for t, f in zip(each, seconds[FLOOR], strict=True))
        for name, each in seconds.items()
    }


def peak_bytes(call: Callable[[], object]) -> int:
    """The most tensor bytes that a call holds at once over what it found: exact, from every allocation and release.

    Resident memory would also count what the allocator kept of earlier calls. Scratch space inside
    oneDNN and NumPy's arrays are not counted, for the floor as for the tools.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(file))
        events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    steps = [e["args"] for e in events if e["name"] == "[memory]"]
    if not steps:
        return 0
    before = steps[0]["Total Allocated"] - steps[0]["Bytes"]  # what earlier calls left is counted on
    return int(max(step["Total Allocated"] for step in steps) - before)


@dataclass(frozen=True)
class Table:
    """A title, the columns' names and rows of text."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    def show(self, console: Console) -> None:
        table = RichTable(title=self.title, title_justify="left")
        for column in self.columns:
            table.add_column(column)
        for row in self.rows:
            table.add_row(*map(escape, row))
        console.print(table)

    def markdown(self) -> str:
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        return f"## {self.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


@dataclass(frozen=True)
class Bar:
    """What may not be exceeded, and what was measured (name -> figure)."""

    text: str
    limit: float
    measured: dict[str, float]

    def sentence(self) -> str:
        """The verdict, computed from the figures."""
        if not self.measured:
            return f"{self.text} at most {self.limit:.2f}: not measured in this run."
        figures = ", ".join(f"{name} {value:.3f}" for name, value in self.measured.items())
        missed = [name for name, value in self.measured.items() if value > self.limit]
        verdict = f"missed by {', '.join(missed)}" if missed else "met"
        return f"{self.text} at most {self.limit:.2f}: {verdict} ({figures})."


def wrong(off: float | None) -> str:
    return f" (map off by {off:.0%})" if off is not None and off > SAME else ""


def picture(batch: int) -> Tensor:
    return torch.randn(batch, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(1))
