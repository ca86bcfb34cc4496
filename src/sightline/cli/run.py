"""sightline run: explain a whole data set into one table, that can be stopped and gone on with."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from sightline.cli import options
from sightline.cli.progress import watching
from sightline.errors import DataError

if TYPE_CHECKING:
    from sightline.runs import Run

LISTED = 5  # errors told on the terminal
EVERY = 60.0  # seconds between two lines of progress, where there is no terminal


def command(
    data: Annotated[
        str, typer.Argument(help="A folder, a manifest, tar shards, or scenes:NAME, as scenes:shapes:count=200.")
    ],
    model: options.ModelName = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            help="predicted; label (each class that the data set says is in the picture); a class's name, index or "
            "wnid; not:NAME; NAME-vs:NAME; finer:NAME; top:3. May be repeated. Default: predicted.",
        ),
    ] = None,
    methods: Annotated[
        str, typer.Option(help="Names from `sightline methods`, with options where wanted, separated by commas.")
    ] = "grad-cam",
    layer: Annotated[str | None, typer.Option(help="A dotted name; by default one is chosen.")] = None,
    layout: Annotated[
        str | None, typer.Option(help="How the data set is laid out; by default what is found there.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="A split of the data set, such as val.")] = None,
    sample: Annotated[int | None, typer.Option(help="Only so many pictures, drawn by --seed.")] = None,
    shard: Annotated[
        str, typer.Option(help="i/n: every n-th part, from the i-th on; n of them, here or elsewhere, fill one folder.")
    ] = "1/1",
    overlays: Annotated[bool, typer.Option("--overlays", help="Also each picture with its map, as a JPEG.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that read pictures; 0 reads in a thread. Default: what suits the machine."),
    ] = None,
    batch: Annotated[int, typer.Option(help="Pictures in one pass.")] = 16,
    part: Annotated[int, typer.Option(help="Pictures in one file of rows: what is lost at most when stopped.")] = 256,
    engine: Annotated[str, typer.Option(help="local, or ray: a cluster, or several processes here.")] = "local",
    actors: Annotated[int | None, typer.Option(help="With ray: copies of the model that work at once.")] = None,
    gpus: Annotated[float | None, typer.Option(help="With ray: GPUs of each copy, as 1 or 0.5.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin again, whatever run the folder holds.")] = False,
    out: options.Out = Path("sightline-run"),
    weights: options.Weights = None,
    labels: options.LabelsFile = None,
    size: options.Size = None,
    fit: options.FitHow = None,
    mean: options.Mean = None,
    std: options.Std = None,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Explain a whole data set into one table. Stopped at any instant, the same command goes on."""
    from sightline.runs import run
    from sightline.sources import bundled

    loaded = options.load_model(model, weights, labels, size, fit, mean, std, device, dtype)
    spec = {
        "name": model or bundled.DEFAULT, "weights": weights, "labels": None if labels is None else str(labels),
        "size": size, "fit": fit, "mean": mean, "std": std,
    }  # fmt: skip
    asked = {"actors": actors, "gpus": gpus}
    first = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started, one speaks
    with _telling(Console(stderr=True, quiet=not first)) as pace:
        done = run(
            loaded, data, target or ("predicted",), options.names(methods), folder=out, layer=layer, batch_size=batch,
            part_size=part, sample=sample, shard=_shard(shard), overlays=overlays, workers=workers, seed=seed,
            engine=engine, progress=pace, layout=layout, split=split, spec=spec, fresh=fresh,
            **{name: value for name, value in asked.items() if value is not None},
        )  # fmt: skip
    facts = _facts(done) | {"seconds": round(pace.seconds, 3), "rate": pace.rate}
    if first and as_json:
        print(json.dumps(facts, indent=2))
    elif first:
        _show(facts, done)
        if loaded.note:
            Console(soft_wrap=True, highlight=False).print(f"[yellow]note:[/] {escape(loaded.note)}")
    if facts["errors"] or facts["problems"]:
        raise typer.Exit(1)


class _Pace:
    """How many pictures are done, and how fast; pictures of an earlier start don't count for the rate."""

    def __init__(self, tell: Callable[["_Pace"], None]) -> None:
        self.began, self.before, self.done, self.total = time.monotonic(), 0, 0, 0
        self.seconds = 0.0
        self._tell = tell

    def __call__(self, done: int, total: int) -> None:
        if not self.total:
            self.began, self.before = time.monotonic(), done
        self.done, self.total, self.seconds = done, total, time.monotonic() - self.began
        self._tell(self)

    @property
    def rate(self) -> float | None:
        """Pictures a second; None before any is done."""
        new = self.done - self.before
        return round(new / self.seconds, 3) if new and self.seconds else None

    def __str__(self) -> str:
        return "explaining" if self.rate is None else f"explaining, {_figure(self.rate)} pictures/s"


@contextmanager
def _telling(console: Console) -> Iterator[_Pace]:
    """A bar with rate and time left on a terminal; a line now and then elsewhere, as in a log."""
    with watching(console) as (bars, _):
        task = bars.add_task("explaining", total=None)
        spoke = time.monotonic()

        def tell(pace: _Pace) -> None:
            nonlocal spoke
            bars.update(task, completed=pace.done, total=pace.total, description=str(pace))
            if not console.is_terminal and time.monotonic() - spoke > EVERY and pace.rate:
                spoke = time.monotonic()
                left = _clock((pace.total - pace.done) / pace.rate)
                console.print(
                    f"{pace.done} of {pace.total}, {_figure(pace.rate)} pictures/s, {left} left", highlight=False
                )

        if console.is_terminal and not console.quiet:
            bars.start()
        yield _Pace(tell)


def _clock(seconds: float) -> str:
    minutes, hours = int(seconds / 60) % 60, int(seconds / 3600)
    return f"{hours}:{minutes:02}:{int(seconds) % 60:02}"


def _figure(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.3g}"


def _shard(text: str) -> tuple[int, int]:
    number, slash, of = text.partition("/")
    if not slash or not number.isdigit() or not of.isdigit():
        raise DataError(f"shard {text!r} can't be read; expected i/n, as 2/8")
    return int(number), int(of)


def _facts(run: "Run") -> dict[str, Any]:
    """What there is to say of a run, as JSON values: of all that the folder holds, whoever wrote it."""
    import pyarrow.compute as pc

    table = run.table(["place", "picture", "correct", "overlay", "error"])
    failed = table.filter(pc.is_valid(table["error"]))
    judged = table.filter(pc.is_valid(table["correct"])).group_by("place").aggregate([("correct", "max")])
    right = pc.sum(judged["correct_max"]).as_py() or 0
    pictures = len(pc.unique(table["place"]))
    return {
        "folder": str(run.folder),
        "model": run.question["model"],
        "data": run.question["data"],
        "layer": run.question["layer"],
        "pictures": pictures,
        "of": run.question["pictures"],
        "rows": table.num_rows,
        "errors": len(pc.unique(failed["place"])),
        "failed": failed.num_rows,
        "accuracy": right / judged.num_rows if judged.num_rows else None,
        "judged": judged.num_rows,
        "parts": len(run.parts),
        "overlays": len(table) - table["overlay"].null_count,
        "problems": list(run.data.problems),
        "first_errors": failed.slice(0, LISTED).select(["picture", "error"]).to_pylist(),
    }


def _show(facts: dict[str, Any], run: "Run") -> None:
    plain = Console(soft_wrap=True, highlight=False)
    at = "" if facts["layer"] is None else f", layer {facts['layer']}"
    plain.print(f"{facts['pictures']} pictures, {facts['rows']} rows of {', '.join(run.methods)}{at}")
    if facts["accuracy"] is not None:
        whole = facts["judged"] == facts["pictures"]
        of = " of the pictures" if whole else f" of the {_many(facts['judged'], 'picture')} with a label that it knows"
        plain.print(f"{escape(facts['model'])} predicts {100 * facts['accuracy']:.1f} %{of} rightly")
    if facts["rate"] is not None:
        plain.print(f"{_figure(facts['rate'])} pictures/s, {_clock(facts['seconds'])} in all")
    if facts["pictures"] < facts["of"]:
        left = f"{facts['of'] - facts['pictures']} of {facts['of']} pictures"
        plain.print(f"[yellow]not done yet:[/] {left}, those of other shards or processes")
    if facts["errors"]:
        of = f"in {facts['errors']} of {facts['pictures']} pictures"
        plain.print(f"[yellow]errors:[/] {facts['failed']} of {facts['rows']} rows, {of}")
        for each in facts["first_errors"]:
            named = each["error"] if each["picture"] in each["error"] else f"{each['picture']}: {each['error']}"
            plain.print(f"  {escape(named)}")
        if facts["failed"] > LISTED:
            sql = "SELECT picture, error FROM run WHERE error IS NOT NULL"
            plain.print(f'  and more: sightline query {escape(facts["folder"])} "{sql}"')
    for problem in facts["problems"][:LISTED]:
        plain.print(f"[yellow]left out:[/] {escape(problem)}")
    if len(facts["problems"]) > LISTED:
        plain.print(f"[yellow]left out:[/] and {len(facts['problems']) - LISTED} more, all with --json")
    drawn = f", {facts['overlays']} pictures in overlays/" if facts["overlays"] else ""
    plain.print(f"wrote {escape(facts['folder'])}: {_many(facts['parts'], 'file')} in rows/{drawn}")


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
