"""A run's table asked in SQL, by DuckDB.

The SQL sees the view `run`, all rows of the parts that are there; `evidence`, once the run has been audited; and the
tables that are given along. It can read nothing else, no file and no network, and can change nothing.
"""

import difflib
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.errors import DataError, first_line
from sightline.runs.columns import COLUMNS, Column, arrow
from sightline.runs.store import EVIDENCE as FILE
from sightline.runs.store import ROWS

if TYPE_CHECKING:
    import pyarrow as pa

    from sightline.runs.kept import Run

EVIDENCE = (
    Column("picture", "string", "its name in the data set"),
    Column("place", "int64", "the picture's place in the data set, from 0"),
    Column("target", "string", "the target in words"),
    Column("index", "int32", "the class that the target is about"),
    Column("method", "string", "with the options that were set"),
    Column("region", "string", "what the evidence was looked for in"),
    Column("suspect", "bool", "whether evidence should not lie there"),
    Column("share", "double", "of the evidence that lies inside, 0 to 1; null where the picture has no such region"),
    Column("area", "double", "of what the model saw of the picture that the region takes, 0 to 1"),
)
"""The columns of the table `evidence`, which `sightline audit` writes."""

READERS = {".parquet": "read_parquet", ".csv": "read_csv", ".tsv": "read_csv", ".json": "read_json"}


@dataclass(frozen=True)
class Example:
    """A question that people ask of a run, and its SQL."""

    asks: str
    sql: str


EXAMPLES = (
    Example(
        "The most confident mistakes",
        "SELECT DISTINCT picture, labels, predicted_name, predicted_probability FROM run "
        "WHERE NOT correct ORDER BY predicted_probability DESC LIMIT 10",
    ),
    Example(
        "How often each class is recognised",
        "SELECT labels, count(DISTINCT place) AS pictures, avg(correct::int) AS recognised FROM run "
        "WHERE error IS NULL GROUP BY labels ORDER BY recognised",
    ),
    Example(
        "Maps that peak at the border of their picture",
        "SELECT picture, target, peak FROM run "
        "WHERE least(peak[1], peak[2], width - 1 - peak[1], height - 1 - peak[2]) < 0.05 * least(width, height)",
    ),
)
"""Three that any run answers."""


def query(run: "Run", sql: str, tables: "Mapping[str, pa.Table | str | Path] | None" = None) -> "pa.Table":
    """The answer to one SELECT as an Arrow table; maps are lists of float32, in parts of `scale`.

    `tables` are more of them by name: Arrow tables, or CSV, JSON or Parquet files. Raises DataError, in one line, for
    SQL that can't be read or run, with the nearest names; and where duckdb isn't installed.
    """
    with answered(run, sql, tables) as answer:
        return answer.read_all()


@contextmanager
def answered(
    run: "Run", sql: str, tables: "Mapping[str, pa.Table | str | Path] | None" = None
) -> "Iterator[pa.RecordBatchReader]":
    """The answer as a stream of record batches, so that a large one need not be held at once. Raises as `query`."""
    duckdb, pa = duck(), arrow()
    tables = tables or {}
    with tempfile.TemporaryDirectory(prefix="sightline-query-") as spill, duckdb.connect(":memory:") as connection:
        columns = {column.name for column in COLUMNS}
        try:
            columns |= _opened(connection, run, tables, spill)
            statements = connection.extract_statements(sql)
            if [each.type for each in statements] != [duckdb.StatementType.SELECT]:
                raise DataError(
                    f"{_short(sql)!r} is not one question; expected a SELECT (or FROM, DESCRIBE, SUMMARIZE)"
                )
            yield pa.RecordBatchReader.from_stream(connection.sql(statements[0].query))
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise DataError(_said(error, run, columns, tables)) from error


def duck() -> Any:
    """The module duckdb. Raises DataError where it isn't installed."""
    try:
        import duckdb
    except ImportError as error:
        raise DataError('runs are asked in SQL by DuckDB; pip install "sightline[batch]"') from error
    return duckdb


def evidence(run: "Run") -> Path | None:
    """The file of the table `evidence`, where the run has been audited."""
    file = run.folder / FILE
    return file if file.is_file() else None


def _opened(connection: Any, run: "Run", tables: "Mapping[str, pa.Table | str | Path]", spill: str) -> set[str]:
    """Make the views, then lock the door behind them; the names of the given tables' columns."""
    rows = (run.folder / ROWS).resolve()
    allowed = []
    # One pattern, not a list of files: there may be hundreds of thousands.
    connection.execute(f"CREATE VIEW run AS FROM read_parquet({_text(_only(rows) + '/part-*.parquet')})")
    audited = evidence(run)
    if clash := {"run", *(["evidence"] if audited else [])} & {name.lower() for name in tables}:
        raise DataError(f"a table can't be called {clash.pop()!r}, the run has one of that name; choose another")
    if audited is not None:
        tables = {**tables, "evidence": audited}
    for name, table in tables.items():
        if isinstance(table, str | Path):
            file = Path(table).resolve()
            reader = READERS.get(file.suffix.lower())
            if reader is None or not file.is_file():
                raise DataError(f"table {name!r}: {table} is no CSV, JSON or Parquet file that is there")
            allowed += [str(file), _only(file)]
            connection.execute(f"CREATE VIEW {_name(name)} AS FROM {reader}({_text(_only(file))})")
        else:
            try:
                connection.register(name, table)
            except duck().Error as error:
                raise DataError(f"table {name!r} can't be used ({first_line(error)}); give an Arrow table") from error
    given = {column for name in tables for (column, *_) in connection.execute(f"DESCRIBE {_name(name)}").fetchall()}
    for name, value in (
        ("temp_directory", _text(spill)),
        ("allowed_directories", f"[{_text(str(rows))}, {_text(_only(rows))}]"),
        ("allowed_paths", f"[{', '.join(map(_text, allowed))}]"),
        ("enable_external_access", "false"),
        ("python_enable_replacements", "false"),  # otherwise a caller's variables are tables
        ("lock_configuration", "true"),
    ):
        connection.execute(f"SET {name} = {value}")
    return given


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _only(path: Path) -> str:
    """A path as a pattern that only it matches."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def _said(error: Exception, run: "Run", columns: set[str], tables: Mapping[str, Any]) -> str:
    """DuckDB's error in one line, with the names that may have been meant."""
    line = re.sub(r"^[A-Za-z ]+ Error: ", "", first_line(error))
    if found := re.search(r'(?:Referenced column|a column named) "([^"]+)"', line):
        near = difflib.get_close_matches(found[1].lower(), sorted(columns), n=3, cutoff=0.5)
        nearest = f"nearest: {', '.join(near)}; " if near else ""
        return (
            f"no column {found[1]!r}; {nearest}`sightline query {run.folder}` lists all (text stands in single quotes)"
        )
    if found := re.search(r"Table with name (\S+) does not exist", line):
        if found[1].lower() == "evidence":
            return f"no table 'evidence' yet: the run hasn't been audited; `sightline audit {run.folder}` makes it"
        there = ["run", *(["evidence"] if evidence(run) else []), *tables]
        return f"no table {found[1]!r}; there is {', '.join(there)}"
    return f"the SQL can't be answered: {line}"


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
