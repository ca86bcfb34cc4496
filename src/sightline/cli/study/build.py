"""sightline study build: trials from a run, drawn and blinded."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from sightline.cli import options
from sightline.cli.progress import counting
from sightline.errors import DataError

if TYPE_CHECKING:
    from sightline.study import Study

SIDES = ("first", "second")


def command(
    run: Annotated[Path, typer.Argument(help="The folder that `sightline run DATA --target label` wrote.")],
    other: Annotated[
        Path | None, typer.Argument(help="For trust: the run of another model over the same pictures.")
    ] = None,
    kind: Annotated[
        str, typer.Option(help="discrimination: which of two classes? trust: which of two models?")
    ] = "discrimination",
    methods: Annotated[
        str | None, typer.Option(help="Methods of the run, separated by commas; by default all that it has.")
    ] = None,
    count: Annotated[int | None, typer.Option(help="Pictures; by default up to 45, the paper's 90 pairs.")] = None,
    participants: Annotated[
        int | None, typer.Option(help="Orders to make; by default so many that each trial has nine answers.")
    ] = None,
    better: Annotated[
        str | None,
        typer.Option(help="The run whose model is known to be better, first or second; by default by accuracy."),
    ] = None,
    out: options.Out = Path("sightline-study"),
    seed: Annotated[int, typer.Option(help="What draws pictures, names, sides and orders.")] = 0,
    as_json: options.Json = False,
) -> None:
    """Build a study from a run: a folder with trials, their pictures, and apart from them the key."""
    from sightline.runs import Run
    from sightline.study import build

    if better is not None and better not in SIDES:
        raise DataError(f"better {better!r}; expected {' or '.join(SIDES)}")
    with counting("drawing") as progress:
        study = build(
            Run(run), out, kind=kind, methods=None if methods is None else options.names(methods), count=count,
            participants=participants, other=None if other is None else Run(other),
            better=None if better is None else SIDES.index(better), seed=seed, progress=progress,
        )  # fmt: skip
    if as_json:
        told = {"folder": str(out), "kind": study.kind, "trials": len(study.trials), "orders": len(study.orders)}
        print(json.dumps(told | dict(study.facts), indent=2))
    else:
        _show(study, out)


def _show(study: "Study", out: Path) -> None:
    from sightline.study.trials import KEY

    plain, facts = Console(soft_wrap=True, highlight=False), study.facts
    shown = len(study.orders) * len(study.orders[0]) // len(study.trials)
    plain.print(
        f"{study.kind}: {facts['pictures']} pictures of {escape(facts['data'])}, {facts['items']} pairs of picture and "
        f"class by {len(facts['methods'])} methods: {len(study.trials)} trials"
    )
    plain.print(
        f"[dim]each of {len(study.orders)} participants sees {len(study.orders[0])} of them, no picture twice; then "
        f"every trial has {shown} answers[/]"
    )
    if "better" in facts:
        first, second = (
            f"{name} {share:.1%}" for name, share in zip(facts["models"], facts["accuracies"], strict=True)
        )
        plain.print(
            f"the better model is {escape(facts['better'])}, {facts['better_by']}: {escape(f'{first}, {second}')}"
        )
    for method, times in facts["empty"].items():
        plain.print(f"[yellow]note:[/] {times} maps by {escape(method)} mark nothing; they are shown as they are")
    plain.print(f"wrote {escape(str(out))}; keep {KEY} in it to yourself: it says what was shown")
