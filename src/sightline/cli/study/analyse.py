"""sightline study analyse: what people's answers say, beside the paper's figures."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from sightline.cli import options

if TYPE_CHECKING:
    from sightline.study import Analysis

LISTED = 5  # problems told on the terminal


def command(
    study: Annotated[Path, typer.Argument(help="The folder that `sightline study build` wrote.")],
    answers: Annotated[
        list[Path] | None,
        typer.Option(
            help="A file of answers from the exported page (JSON, or a crowd platform's CSV); may be repeated."
        ),
    ] = None,
    drop: Annotated[
        str | None,
        typer.Option(help="Leave out participants who are quick, one-sided or guessing; several, with commas."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run of a discrimination study: what its maps alone would answer.")
    ] = None,
    seed: Annotated[int, typer.Option(help="What the permutation tests draw.")] = 0,
    as_json: options.Json = False,
) -> None:
    """What people's answers say: each method's figure with an interval, against chance and against one another.

    Writes analysis.json and answers.csv into the study's folder.
    """
    from sightline.study import Study, analyse
    from sightline.study.answers import read, take

    asked = Study.load(study)
    taken = take(study, answers) if answers else None
    problems = taken.problems if taken else ()
    _tell(problems)
    analysis = analyse(asked, read(study), drop=[] if drop is None else options.names(drop), seed=seed)
    maps: dict[str, dict[str, float]] = {}
    if run is not None:
        from sightline.runs import Run
        from sightline.study.proxy import BY, proxy

        kept = Run(run)
        for by in BY:
            maps[by] = {row.method: row.figure.value for row in analyse(asked, proxy(kept, asked, by)).methods}
    facts = analysis.facts() | ({"maps alone": maps} if maps else {})
    _write(study, facts, analysis)
    if as_json:
        print(json.dumps(facts | {"problems": list(problems)}, indent=2))
    else:
        if taken:
            print(f"brought in {taken.added} answers; {taken.known} were there already")
        _show(Console(), analysis, maps)
        Console(soft_wrap=True, highlight=False).print(f"wrote {escape(str(study / 'analysis.json'))}, answers.csv")
    if problems:
        raise typer.Exit(1)


def _tell(problems: Sequence[str]) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    for problem in problems[:LISTED]:
        console.print(f"[yellow]left out:[/] {escape(problem)}")
    if len(problems) > LISTED:
        console.print(f"[yellow]left out:[/] and {len(problems) - LISTED} more")


def _write(folder: Path, facts: Mapping[str, object], analysis: "Analysis") -> None:
    from sightline.errors import DataError, first_line

    rows = analysis.rows()
    try:
        (folder / "analysis.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
        with (folder / "answers.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise DataError(f"{folder} can't be written to ({first_line(error)}); free it, and analyse again") from error


def _show(console: Console, analysis: "Analysis", maps: Mapping[str, Mapping[str, float]]) -> None:
    """The tables, participants to look at, and the same in words."""
    from sightline.study.doubts import DOUBTS
    from sightline.study.words import probability, sentences, told_apart

    people = [person for person in analysis.people if not person.dropped]
    pictures = len({each.key.picture for each in analysis.kept})
    plain = Console(soft_wrap=True, highlight=False)
    plain.print(
        f"[dim]{analysis.kind}: {len(analysis.kept)} answers of {len(people)} participants to {pictures} pictures; "
        "\\[95 % intervals] over participants and pictures; p after Holm's correction[/]"
    )
    _print(console, _methods(analysis, maps))
    if analysis.pairs:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name, justify in (("the first less the other", "left"), ("difference", "right"), ("p", "right")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        for pair in analysis.pairs:
            apart = "-" if pair.difference is None else told_apart(pair.difference, analysis.kind)
            table.add_row(escape(f"{pair.first} - {pair.other}"), escape(apart), probability(pair.sure))
        console.print()
        _print(console, table)
    plain.print()
    if analysis.agreement is not None:
        plain.print(f"agreement on the same trial, over all methods: Krippendorff's alpha {analysis.agreement:z.2f}")
    ideas = {doubt.name: doubt.idea for doubt in DOUBTS}
    for name, idea in ideas.items():
        some = [person.participant for person in analysis.people if name in person.doubts]
        if some:
            kept = "dropped" if name in analysis.drop else "kept, see --drop"
            plain.print(f"[yellow]{name}[/] ({idea}; {kept}): {escape(', '.join(some))}")
    if analysis.left:
        gone = sum(person.dropped for person in analysis.people)
        who = "1 participant" if gone == 1 else f"{gone} participants"
        plain.print(f"dropped for {', '.join(analysis.drop)}: {who} with {len(analysis.left)} answers")
    for sentence in sentences(analysis):
        plain.print(escape(sentence))


def _print(console: Console, table: Table) -> None:
    """The table where there is room for it, as in any pipe or file; on a narrower terminal row by row."""
    wide = Measurement.get(console, console.options.update(max_width=10**6), table).maximum
    if not console.is_terminal:
        console.width = max(wide, console.width)
    if wide <= console.width:
        console.print(table, highlight=False)
        return
    first, *others = table.columns
    across = max(len(str(column.header)) for column in others)
    for name, *values in zip(*(column.cells for column in table.columns), strict=True):
        console.print(f"[dim]{first.header}[/] {name}", highlight=False)
        for column, value in zip(others, values, strict=True):
            console.print(f"  [dim]{column.header!s:{across}}[/]  {value}", highlight=False)


def _methods(analysis: "Analysis", maps: Mapping[str, Mapping[str, float]]) -> Table:
    from sightline.study.trials import Kind
    from sightline.study.words import probability, told

    told_class = analysis.kind is Kind.DISCRIMINATION
    table = Table(box=None, pad_edge=False, header_style="dim")
    against = "p, chance" if told_class else "p, 0"
    table.add_column("method")
    values = [] if told_class else sorted({value for each in analysis.methods for value in each.shares})
    spread = [f"{value:+g}" if value else "0" for value in values]
    figure = "right" if told_class else "score"
    for name in ("answers", figure, against, *spread, "agreement", "seconds", "paper", *maps):
        table.add_column({"energy": "map's energy", "peak": "map's peak"}.get(name, name), justify="right")
    for each in analysis.methods:
        paper = "-" if each.paper is None else f"{100 * each.paper:.2f} %" if told_class else f"{each.paper:+.2f}"
        table.add_row(
            escape(each.method),
            str(each.answers),
            escape(told(each.figure, analysis.kind)),
            probability(each.sure),
            *(f"{100 * each.shares.get(value, 0):.0f} %" for value in values),
            "-" if each.agreement is None else f"{each.agreement:z.2f}",
            f"{each.seconds:.1f}",
            paper,
            *(f"{100 * by[each.method]:.0f} %" if each.method in by else "-" for by in maps.values()),
        )
    return table
