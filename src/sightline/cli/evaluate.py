"""sightline evaluate: methods judged by metrics on a data set, with controls; a table, JSON and a report."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sightline.cli import options
from sightline.cli.progress import watching

if TYPE_CHECKING:
    from sightline.evaluation import Evaluation

LISTED = 5  # problems told on the terminal


def command(
    data: Annotated[
        str,
        typer.Argument(
            help="A folder or file of annotated pictures, or scenes:NAME with options, as scenes:shapes:count=200."
        ),
    ],
    methods: Annotated[
        str, typer.Option(help="Names from `sightline methods`, separated by commas, or `all`.")
    ] = "grad-cam",
    metrics: Annotated[
        str | None, typer.Option(help="Names from `sightline metrics`, separated by commas; by default what suits.")
    ] = None,
    model: options.ModelName = None,
    layer: Annotated[str | None, typer.Option(help="A dotted name; by default one is chosen.")] = None,
    layout: Annotated[
        str | None, typer.Option(help="How the data set is laid out; by default what is found there.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="A split of the data set, such as val.")] = None,
    count: Annotated[int | None, typer.Option(help="Only so many pictures, spread evenly.")] = None,
    controls: Annotated[bool, typer.Option(help="Rows of what isn't an explanation, to compare with.")] = True,
    attack: Annotated[
        str | None, typer.Option(help="A class into which every picture is fooled first, before it is explained.")
    ] = None,
    relabelled: Annotated[
        str | None, typer.Option(help="The model trained on random labels, for the metric label-randomisation.")
    ] = None,
    batch: Annotated[int, typer.Option(help="Pictures in one pass.")] = 16,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin again, whatever the folder holds.")] = False,
    out: options.Out = Path("sightline-evaluation"),
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
    """Judge methods on a data set, picture by picture; what was judged is kept, and gone on with when asked again."""
    from sightline.datasets import open_data
    from sightline.datasets.subset import subset
    from sightline.evaluation import evaluate
    from sightline.evaluation.report import page
    from sightline.evaluation.store import FILE
    from sightline.methods import METHODS, method
    from sightline.sources import load

    loaded = options.load_model(model, weights, labels, size, fit, mean, std, device, dtype)
    found = open_data(data, layout=layout, split=split)
    if count is not None:
        found = subset(found, count)
    rows = list(METHODS) if methods == "all" else [method(name) for name in options.names(methods)]
    if fresh:
        (out / FILE).unlink(missing_ok=True)
    console = Console(stderr=True)
    with watching(console) as (bars, _):
        if console.is_terminal:
            bars.start()
        task = bars.add_task("judging", total=len(found))
        evaluation = evaluate(
            loaded, found, rows, None if metrics is None else options.names(metrics), controls=controls, layer=layer,
            batch_size=batch, seed=seed, folder=out, attack=attack,
            relabelled=None if relabelled is None else load(relabelled, device=device),
            progress=lambda done, _: bars.update(task, completed=done),
        )  # fmt: skip
    (out / "evaluation.json").write_text(json.dumps(evaluation.facts(), indent=2), encoding="utf-8")
    (out / "report.html").write_text(page(evaluation, loaded, found, rows), encoding="utf-8")
    if as_json:
        print(json.dumps(evaluation.facts(), indent=2))
    else:
        _show(Console(), evaluation, out)
        if loaded.note:
            Console(soft_wrap=True, highlight=False).print(f"[yellow]note:[/] {escape(loaded.note)}")
    if evaluation.problems:
        raise typer.Exit(1)


def _show(console: Console, evaluation: "Evaluation", out: Path) -> None:
    """The table: methods down, metrics across; what isn't better than every control for certain has a mark."""
    from sightline.evaluation.report import ARROW, with_spread

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column(
        "method", overflow="fold", min_width=max(len(row.name) for row in evaluation.rows if row.control) // 2
    )
    for metric in evaluation.metrics:
        table.add_column(f"{metric.title} {ARROW[metric.better]}".strip(), justify="right", overflow="fold")
    for name in ("empty", "tied"):
        table.add_column(name, justify="right")
    marked = False
    for row in evaluation.rows:
        cells = []
        for metric in evaluation.metrics:
            figure = row.figures[metric.title]
            unsure = bool(figure.unbeaten)
            marked |= unsure
            cells.append(with_spread(figure) + ("?" if unsure else " "))
        cells += [str(row.empty or ""), str(row.tied or "")]
        table.add_row(escape(row.name), *cells, style="dim" if row.control else "")
    console.print(table, highlight=False)
    asked = max((row.maps for row in evaluation.rows), default=0)
    told = f"{evaluation.pictures} pictures, {asked} maps by each method, layer {evaluation.layer}"
    key = "± half of the 95 % interval over pictures; dim rows are controls"
    console.print(f"[dim]{escape(told)}; {key}{', ? not surely better than each of them' * marked}[/]")
    if evaluation.fooled is not None:
        console.print(f"attacked: {evaluation.fooled} of {evaluation.pictures} pictures fooled to more than 0.999")
    plain = Console(soft_wrap=True, highlight=False)
    for why in evaluation.refused:
        plain.print(f"[yellow]left out:[/] {escape(why)}")
    for problem in evaluation.problems[:LISTED]:
        plain.print(f"[yellow]left out:[/] {escape(problem)}")
    if len(evaluation.problems) > LISTED:
        plain.print(f"[yellow]left out:[/] and {len(evaluation.problems) - LISTED} more, all in the report")
    if evaluation.unknown:
        listed = ", ".join(f"{label} ({count})" for label, count in list(evaluation.unknown.items())[:8])
        more = ", ..." if len(evaluation.unknown) > 8 else ""
        plain.print(f"[yellow]left out:[/] classes that the model doesn't know: {escape(listed)}{more}")
    plain.print(f"wrote {escape(str(out / 'report.html'))}, evaluation.json, trials.jsonl")
