"""sightline audit: where a model looks over a data set, and whether it looks where it should."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sightline.cli import options
from sightline.cli.progress import counting
from sightline.errors import DataError

if TYPE_CHECKING:
    from sightline.audit import Audit
    from sightline.model import Model
    from sightline.runs import Run
    from sightline.trials import DataSet

LISTED = 20  # classes in the terminal's table
TOLD = 3  # verdicts that are told in full
COLOURS = {"biased": "red", "unsure": "yellow", "clear": "cyan", "unknown": "dim"}


def command(
    run: Annotated[Path, typer.Argument(help="The folder that `sightline run` wrote.")],
    object_: Annotated[
        str | None,
        typer.Option(
            "--object",
            help="Where the object is: a folder of masks, a COCO file, a table of boxes, scenes:NAME; by default what "
            "the run's own data set says.",
        ),
    ] = None,
    region: Annotated[list[str] | None, typer.Option(help="Another region, as NAME=DATA. May be repeated.")] = None,
    suspect: Annotated[
        list[str] | None, typer.Option(help="A region where evidence should not lie, as NAME=DATA. May be repeated.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="A column of what the data set says of its pictures.")] = None,
    method: Annotated[str | None, typer.Option(help="Which of the run's methods; by default the first.")] = None,
    before: Annotated[
        Path | None, typer.Option(help="Another model's run over the same pictures, to compare with.")
    ] = None,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Hide the regions and ask the model again; it is loaded as it was.")
    ] = False,
    model: options.ModelName = None,
    clusters: Annotated[bool, typer.Option(help="Group each class's maps by likeness.")] = True,
    top: Annotated[int, typer.Option(min=0, help="Examples of each group.")] = 4,
    full: Annotated[int, typer.Option(min=0, help="Classes that the report shows in full, the worst first.")] = 20,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder to write to; by default RUN/audit.")
    ] = None,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Where the evidence lies, class by class: ranked, with verdicts, subgroups, clusters and a report to pass on."""
    from sightline.audit import audit
    from sightline.audit.report import page
    from sightline.audit.written import facts, write
    from sightline.runs import Run

    kept = Run(run)
    regions, suspects = _opened(region, "--region"), _opened(suspect, "--suspect")
    if object_ is not None:
        if "object" in regions | suspects:
            raise DataError("object is given by --object and by --region or --suspect; leave one out")
        regions = {"object": _open(object_)} | regions
    loaded = _model(kept, model, device) if confirm else None
    with counting("auditing") as progress:
        found = audit(
            kept, regions=regions, suspects=suspects, by=by, method=method,
            before=None if before is None else Run(before), model=loaded, clusters=clusters, seed=seed, top=top,
            progress=progress,
        )  # fmt: skip
    folder = run / "audit" if out is None else out
    write(found, folder, page(found, kept, regions, suspects, full=full))
    if as_json:
        print(json.dumps(facts(found), indent=2, allow_nan=False))
    else:
        _show(Console(), found, folder)


def _opened(named: Sequence[str] | None, option: str) -> "dict[str, DataSet]":
    """The data sets of NAME=DATA, by name."""
    found: dict[str, DataSet] = {}
    for text in named or ():
        name, _, data = text.partition("=")
        if not name.strip() or not data.strip():
            raise DataError(f"{option} {text!r} can't be read; expected NAME=DATA, as {option} watermark=marks/")
        if name.strip() in found:
            raise DataError(f"{option} {name.strip()} is given twice; name them differently")
        found[name.strip()] = _open(data.strip())
    return found


def _open(data: str) -> "DataSet":
    from sightline.datasets import open_data

    return open_data(data)


def _model(kept: "Run", name: str | None, device: str) -> "Model":
    """The model that the run was made with. Raises DataError where nothing says how to load it, or it is another."""
    spec: dict[str, Any] | None = kept.question["spec"]
    if name is None and spec is None:
        raise DataError(f"nothing in {kept.folder} says how to load {kept.question['model']}; give it by --model")
    how: dict[str, Any] = dict.fromkeys(("weights", "labels", "size", "fit", "mean", "std")) | {
        key: value for key, value in (spec or {}).items() if key != "name"
    }
    how["labels"] = None if how["labels"] is None else Path(how["labels"])
    return options.load_model(name or (spec or {})["name"], **how, device=device, dtype=None)


def _show(console: Console, found: "Audit", folder: Path) -> None:
    """The ranking, the verdicts of the worst, and what has changed."""
    from sightline.audit.report import MARKS, from_to, interval, misplaced_in, percent

    where = misplaced_in(found.regions)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("class", overflow="fold")
    table.add_column("verdict")
    for name in (f"evidence {where}" if where else "misplaced", "95 %", "accuracy", "pictures"):
        table.add_column(name, justify="right", overflow="fold")
    for each in found.classes[:LISTED]:
        level = each.verdict.level
        table.add_row(
            escape(each.name), f"[{COLOURS[level]}]{MARKS[level]} {level}[/]", percent(each.misplaced),
            interval(each.misplaced), percent(each.all.accuracy), f"{each.all.pictures:,}",
        )  # fmt: skip
    console.print(table, highlight=False)
    plain = Console(soft_wrap=True, highlight=False)
    if len(found.classes) > LISTED:
        plain.print(f"[dim]and {len(found.classes) - LISTED:,} classes more, all in audit.json[/]")
    for each in found.classes[:TOLD]:
        plain.print(f"[bold]{escape(each.name)}:[/] {escape(each.verdict.words)}")
    for change in found.changes[:LISTED]:
        shares = (f", {name} {from_to(*trio)}" for name, trio in change.evidence.items())
        plain.print(f"[bold]{escape(change.name)}:[/] accuracy {from_to(*change.accuracy)}{escape(''.join(shares))}")
    for problem in found.problems[:5]:
        plain.print(f"[yellow]left out:[/] {escape(problem)}")
    if len(found.problems) > 5:
        plain.print(f"[yellow]left out:[/] and {len(found.problems) - 5:,} more, all in the report")
    plain.print(f"wrote {escape(str(folder / 'report.html'))}, audit.json, evidence.parquet")
