"""sightline query: ask the table of a run in SQL."""

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from sightline.cli import options
from sightline.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from sightline.runs import Run

ITEMS = 4  # of a list, as many are shown on the terminal


def command(
    run: Annotated[Path, typer.Argument(help="The folder that `sightline run` wrote to.")],
    sql: Annotated[
        str | None, typer.Argument(help="One SELECT on the table run, or evidence; without it, what can be asked.")
    ] = None,
    table: Annotated[
        list[str] | None,
        typer.Option(help="Another table, as boxes=boxes.csv: CSV, JSON or Parquet. May be repeated."),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="So many rows on the terminal; files and JSON have all.")
    ] = 50,
    csv: Annotated[
        Path | None, typer.Option(help="Write the answer to this file; lists become JSON in a cell.")
    ] = None,
    parquet: Annotated[Path | None, typer.Option(help="Write the answer to this file.")] = None,
    as_json: options.Json = False,
) -> None:
    """Ask the table of a run in SQL (DuckDB's); it reads that run and nothing else, and changes nothing."""
    from sightline.runs import Run
    from sightline.runs.query import answered

    if (csv is not None) + (parquet is not None) + as_json > 1:
        raise DataError("the answer is written once: choose one of --csv, --parquet and --json")
    if any(file is not None and not file.name for file in (csv, parquet)):
        raise DataError("an answer is written to a file; expected its name behind --csv or --parquet")
    kept = Run(run)
    if sql is None:
        if csv or parquet or table:
            raise DataError("--csv, --parquet and --table need a question; give the SQL behind the folder")
        _summary(kept, as_json)
        return
    with answered(kept, sql, _tables(table or [])) as answer:
        if csv or parquet:
            file = csv or parquet
            assert file is not None
            count = _write(answer, file, as_csv=csv is not None)
            Console(stderr=True, soft_wrap=True, highlight=False).print(f"wrote {escape(str(file))}: {_many(count)}")
        elif as_json:
            _print_json(answer)
        else:
            _print(answer, limit)


def _tables(given: list[str]) -> dict[str, str]:
    tables = {}
    for text in given:
        name, sign, file = text.partition("=")
        if not (sign and name and file):
            raise DataError(f"table {text!r} can't be read; expected NAME=FILE, as boxes=boxes.csv")
        tables[name] = file
    return tables


def _write(answer: "pa.RecordBatchReader", file: Path, *, as_csv: bool) -> int:
    """The answer as a file, whole or not at all; the number of rows."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    part, count = file.with_name(f".{file.name}.tmp"), 0
    schema = pa.schema([_flat(field) for field in answer.schema]) if as_csv else answer.schema
    try:
        with (csv.CSVWriter if as_csv else parquet.ParquetWriter)(str(part), schema) as writer:
            for batch in answer:
                count += batch.num_rows
                writer.write(pa.record_batch(list(map(_flattened, batch.columns)), schema) if as_csv else batch)
        part.replace(file)
    except OSError as error:
        raise DataError(f"{file} can't be written ({error.strerror or error})") from error
    finally:
        part.unlink(missing_ok=True)
    return count


def _flat(field: "pa.Field") -> "pa.Field":
    import pyarrow as pa

    return field.with_type(pa.string()) if pa.types.is_nested(field.type) else field


def _flattened(column: "pa.Array") -> "pa.Array":
    import pyarrow as pa

    if not pa.types.is_nested(column.type):
        return column
    return pa.array([None if cell is None else json.dumps(cell) for cell in _cells(column)], pa.string())


def _cells(column: "pa.Array") -> list[Any]:
    """A column's values as JSON knows them."""
    return [_plain(value) for value in column.to_pylist(maps_as_pydicts="lossy")]


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None  # JSON has no NaN
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return value if value is None or isinstance(value, str | int) else str(value)


def _print_json(answer: "pa.RecordBatchReader") -> None:
    """A list with an object for each row, a row to a line."""
    names, before = answer.schema.names, "[\n"
    for batch in answer:
        for row in zip(*map(_cells, batch.columns), strict=True):
            sys.stdout.write(before + json.dumps(dict(zip(names, row, strict=True))))
            before = ",\n"
    sys.stdout.write("\n]\n" if before == ",\n" else "[]\n")


def _print(answer: "pa.RecordBatchReader", limit: int) -> None:
    """A table where there is room for one, else row by row, a line for each column."""
    console, plain = Console(), Console(soft_wrap=True, highlight=False)
    rows: list[tuple[Any, ...]] = []
    count = 0
    for batch in answer:
        if count < limit:
            rows += zip(*map(_cells, batch.slice(0, limit - count).columns), strict=True)
        count += batch.num_rows
    names = answer.schema.names
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, name in enumerate(names):
        numbers = all(isinstance(row[place], int | float | None) and not isinstance(row[place], bool) for row in rows)
        table.add_column(escape(name), justify="right" if numbers and rows else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(escape(_shown(value)) for value in row))
    if not rows:
        plain.print("[dim]no rows[/]")
    elif Measurement.get(console, console.options.update(max_width=10**6), table).maximum <= console.width:
        console.print(table, highlight=False)
    else:
        wide = max(map(len, names))
        for number, row in enumerate(rows):
            plain.print(f"[dim]row {number + 1}[/]")
            for name, value in zip(names, row, strict=True):
                plain.print(f"  [dim]{escape(name):{wide}}[/]  {escape(_shown(value))}")
    if count > len(rows):
        plain.print(f"[dim]and {_many(count - len(rows))} more; --limit shows more of them, --csv FILE writes all[/]")


def _shown(value: Any) -> str:
    """A value in few characters."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(each)}" for key, each in value.items())
    if isinstance(value, list):
        more = f", ... {len(value)} in all" if len(value) > ITEMS else ""
        return ", ".join(map(_shown, value[:ITEMS])) + more
    return str(value)


def _many(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"


def _summary(run: "Run", as_json: bool) -> None:
    """What there is to ask: the columns with their meanings, how many rows, and three questions."""
    from sightline.runs.columns import COLUMNS
    from sightline.runs.query import EVIDENCE, EXAMPLES, evidence

    counted = run.query(
        "SELECT count(*) AS rows, count(DISTINCT place) AS pictures, "
        "count(DISTINCT place) FILTER (error IS NOT NULL) AS errors FROM run"
    ).to_pylist()[0]
    tables = {"run": COLUMNS, **({"evidence": EVIDENCE} if evidence(run) else {})}
    if as_json:
        facts = {
            "run": run.question,
            "parts": len(run.parts),
            **counted,
            "tables": {name: [vars(column) for column in columns] for name, columns in tables.items()},
            "examples": [vars(example) for example in EXAMPLES],
        }
        print(json.dumps(facts, indent=2))
        return
    console, plain = Console(), Console(soft_wrap=True, highlight=False)
    plain.print(escape(f"{run.question['model']} on {run.question['data']}: {', '.join(run.methods)}"))
    plain.print(
        f"{counted['pictures']:,} of {run.question['pictures']:,} pictures, {_many(counted['rows'])}; "
        f"{counted['errors']:,} with an error"
    )
    for name, columns in tables.items():
        table = Table(box=None, pad_edge=False, header_style="dim", title=f"table {name}", title_justify="left")
        for header in ("column", "type", "meaning"):
            table.add_column(header, no_wrap=header == "column", overflow="fold")
        for column in columns:
            table.add_row(column.name, escape(column.type), escape(column.says))
        console.print()
        console.print(table, highlight=False)
    if "evidence" not in tables:
        plain.print(
            f"\n[dim]`sightline audit {escape(str(run.folder))}` adds the table evidence: its share by region[/]"
        )
    for example in EXAMPLES:
        plain.print(f'\n[dim]{example.asks}:[/]\nsightline query {escape(str(run.folder))} "{escape(example.sql)}"')
