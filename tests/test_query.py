"""A run asked in SQL: answers against loops over the rows; nothing but the run is read, and nothing changes."""

import csv
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from test_cli import run as as_users_do
from typer.testing import CliRunner

from sightline.cli import app
from sightline.errors import DataError
from sightline.runs import Run
from sightline.runs.columns import COLUMNS
from sightline.runs.query import EVIDENCE, EXAMPLES, answered
from sightline.runs.store import Store, write_part

PAGE = (Path(__file__).parents[1] / "docs/scale.md").read_text(encoding="utf-8")
PICTURES, PART, BAD = 12, 4, 5
NAMES = ("cat", "dog")


def row(place: int) -> dict[str, Any]:
    """A made-up row: cats at even places, the net says cat at every third, sure in steps of 1/100."""
    if place == BAD:
        return {"place": place, "picture": f"p{place}.jpg", "error": f"p{place}.jpg is no picture"}
    cells = np.append(np.random.default_rng(place).normal(size=5), 1.0)
    label, said = NAMES[place % 2], NAMES[min(place % 3, 1)]
    return {
        "place": place, "picture": f"p{place}.jpg", "content": f"{place:064x}", "width": 60, "height": 40,
        "labels": [label], "about": {"sex": "fm"[place % 2]}, "predicted": NAMES.index(said), "predicted_name": said,
        "predicted_probability": 0.5 + place / 100, "correct": label == said, "asked": "predicted", "target": said,
        "index": NAMES.index(said), "score": 2.5, "probability": 0.5 + place / 100, "rank": 0, "method": "grad-cam",
        "layer": "features", "question": "0123456789abcdef", "map": (cells / abs(cells).max()).astype(np.float16),
        "map_height": 2, "map_width": 3, "scale": float(abs(cells).max()), "seen": [0.0, 0.0, 60.0, 40.0],
        "peak": [place * 5, 20], "box": [10, 10, 30, 30],
    }  # fmt: skip


def made(folder: Path, pictures: int = PICTURES) -> Run:
    asked = {"model": "net", "data": "toys", "methods": [["grad-cam", {}]], "pictures": pictures, "opened": None}
    store = Store(folder, asked, -(-pictures // PART))
    for part in range(store.parts):
        write_part(store.folder, part, [row(place) for place in range(part * PART, min((part + 1) * PART, pictures))])
    return Run(folder)


def with_evidence(run: Run) -> Run:
    """The run as audited: of picture n a share of n/10 lies in the object, a quarter of the picture."""
    same = {"method": "grad-cam", "region": "object", "suspect": False, "area": 0.25}
    shares = [
        same
        | {"picture": each["picture"], "place": n, "target": each["target"], "index": each["index"], "share": n / 10}
        for n, each in enumerate(rows())
        if "map" in each
    ]
    (run.folder / "audit").mkdir()
    parquet.write_table(pa.Table.from_pylist(shares), run.folder / "audit/evidence.parquet")
    return run


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """In a folder whose name means something to SQL and to shells, beside one that it would match as a pattern."""
    root = tmp_path_factory.mktemp("runs")
    made(root / "it's a run1", 20)
    return made(root / "it's a run[1*]")


def command(*args: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command, in this process."""
    done = CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "200", "NO_COLOR": "1"})
    said = f"error: {done.exception}\n" if isinstance(done.exception, DataError) else done.stderr
    return done.exit_code, done.stdout, said


def rows() -> list[dict[str, Any]]:
    return [row(place) for place in range(PICTURES)]


def files(folder: Path) -> Mapping[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_the_table_is_all_rows_in_order_with_their_maps(toys: Run) -> None:
    found = toys.query("FROM run")
    assert found.column_names == [column.name for column in COLUMNS]
    assert found["place"].to_pylist() == list(range(PICTURES))
    for cells, expected in zip(found["map"].to_pylist(), rows(), strict=True):
        assert cells == (None if "map" not in expected else expected["map"].astype(np.float32).tolist())
    assert toys.query("SELECT picture FROM run WHERE error IS NOT NULL").to_pylist() == [{"picture": f"p{BAD}.jpg"}]


def test_the_three_examples_against_loops(toys: Run) -> None:
    good = [each for each in rows() if "map" in each]
    mistakes, recognised, border = (toys.query(example.sql).to_pylist() for example in EXAMPLES)
    wrong = sorted((each for each in good if not each["correct"]), key=lambda each: -each["predicted_probability"])
    assert [each["picture"] for each in mistakes] == [each["picture"] for each in wrong][:10]
    for each in recognised:
        mine = [one["correct"] for one in good if one["labels"] == each["labels"]]
        assert each["pictures"] == len(mine)
        assert each["recognised"] == pytest.approx(sum(mine) / len(mine), abs=1e-12)
    assert [each["recognised"] for each in recognised] == sorted(each["recognised"] for each in recognised)
    near = [one for one in good if min(one["peak"][0], one["peak"][1], 59 - one["peak"][0], 39 - one["peak"][1]) < 2]
    assert near
    assert [each["picture"] for each in border] == [one["picture"] for one in near]


def test_the_page_has_the_table_of_columns_and_its_questions_are_answered(tmp_path: Path) -> None:
    listed = "\n".join(f"| {column.name} | {column.type} | {column.says} |" for column in COLUMNS)
    assert f"| --- | --- | --- |\n{listed}\n\n" in PAGE
    asked = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    assert len(asked) >= 8
    assert [" ".join(sql.split()) for sql in asked[: len(EXAMPLES)]] == [example.sql for example in EXAMPLES]
    audited = with_evidence(made(tmp_path))
    answers = [audited.query(sql) for sql in asked]
    assert answers[3].to_pylist() == [{"picture": f"p{n}.jpg", "inside": n / 10, "area": 0.25} for n in (0, 3)]
    assert answers[4].to_pylist() == []
    assert answers[5].to_pylist() == []
    assert answers[6].num_rows == 2
    assert answers[7].to_pylist() == [{"error": f"p{BAD}.jpg is no picture", "pictures": 1}]


def test_maps_are_numbers_to_sql(toys: Run) -> None:
    """The energy above zero in the left third of the map, and a metadata column, against numpy."""
    found = toys.query(
        "SELECT place, about['sex'] AS sex, "
        "(greatest(map[1], 0) + greatest(map[4], 0)) / list_sum([greatest(v, 0) FOR v IN map]) AS share "
        "FROM run WHERE map IS NOT NULL"
    ).to_pylist()
    for each in found:
        expected = row(each["place"])
        positive = np.maximum(expected["map"].astype(np.float64).reshape(2, 3), 0)
        assert each["share"] == pytest.approx(positive[:, 0].sum() / positive.sum(), rel=1e-6)
        assert each["sex"] == expected["about"]["sex"]
    assert len(found) == PICTURES - 1


def test_tables_that_are_given_along_are_joined(toys: Run, tmp_path: Path) -> None:
    file = tmp_path / "it's [1].csv"
    file.write_text("file,x0\np1.jpg,5\np7.jpg,9\n")
    ages = pa.table({"place": [1, 2, 7], "age": [30, 40, 50]})
    found = toys.query(
        "SELECT picture, x0, age FROM run JOIN boxes ON file = picture JOIN ages USING (place)",
        {"boxes": file, "ages": ages},
    )
    assert found.to_pylist() == [{"picture": "p1.jpg", "x0": 5, "age": 30}, {"picture": "p7.jpg", "x0": 9, "age": 50}]
    for tables, said in (
        ({"run": ages}, "a table can't be called 'run'"),
        ({"boxes": tmp_path / "gone.csv"}, "gone.csv is no CSV, JSON or Parquet file that is there"),
        ({"boxes": 5}, "table 'boxes' can't be used"),
    ):
        with pytest.raises(DataError, match=said):
            toys.query("FROM run", tables)


def test_evidence_is_a_table_once_there_is_an_audit(tmp_path: Path) -> None:
    found = made(tmp_path)
    with pytest.raises(DataError, match="hasn't been audited; `sightline audit"):
        found.query("SELECT * FROM evidence")
    inside = with_evidence(found).query(
        "SELECT picture, share FROM evidence JOIN run USING (place, picture, target, method) "
        "WHERE region = 'object' AND share > 0.25 AND target = 'cat'"
    )
    assert inside.to_pylist() == [{"picture": f"p{n}.jpg", "share": n / 10} for n in (3, 6, 9)]
    assert {column.name for column in EVIDENCE} == set(found.query("FROM evidence").column_names)


def test_nothing_but_the_run_can_be_read_and_nothing_changed(toys: Run, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    secret, before = tmp_path / "secret.csv", files(toys.folder)
    rows_of_another = str(toys.folder.parent / "it's a run1/rows/part-000000.parquet").replace("'", "''")
    for sql in (
        f"SELECT * FROM read_csv('{secret}')",
        f"SELECT * FROM read_text('{secret}')",
        f"SELECT * FROM '{secret}'",
        f"SELECT * FROM read_parquet('{rows_of_another}')",
        f"SELECT * FROM glob('{tmp_path}/*')",
        "SELECT * FROM read_csv('https://example.org/a.csv')",
        "SELECT * FROM secret",  # a variable of the caller
        f"SELECT * FROM query('COPY run TO ''{tmp_path}/x.csv''')",
        f"COPY run TO '{tmp_path}/x.csv'",
        f"EXPLAIN ANALYZE COPY run TO '{tmp_path}/x.csv'",
        f"COPY (SELECT 1) TO '{str(toys.folder).replace(chr(39), chr(39) * 2)}/rows/part-000000.parquet'",
        f"ATTACH '{tmp_path}/x.db'",
        "DELETE FROM run", "DROP VIEW run", "CREATE TABLE t AS FROM run", "INSTALL httpfs", "LOAD httpfs",
        "SET enable_external_access = true", "SELECT 1; SELECT 2", "PRAGMA database_list", "CALL enable_logging()",
    ):  # fmt: skip
        with pytest.raises(DataError):
            toys.query(sql)
    assert files(toys.folder) == before
    assert [file.name for file in tmp_path.iterdir()] == ["secret.csv"]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT lable FROM run", r"^no column 'lable'; nearest: label, labels, .*`sightline query .*` lists all"),
        ("SELECT run.plase FROM run", "^no column 'plase'; nearest: place"),
        ('SELECT place FROM run WHERE picture = "p1.jpg"', r"no column 'p1\.jpg'.*text stands in single quotes"),
        ("SELECT * FROM runs", "^no table 'runs'; there is run$"),
        ("SELEC 1", '^the SQL can\'t be answered: syntax error at or near "SELEC"$'),
        ("SELECT picture::int FROM run", r"can't be answered: Could not convert string 'p\d+\.jpg' to INT32"),
        ("SELECT sum(picture) FROM run", r"can't be answered: No function matches .*sum\(VARCHAR\)"),
        (" ; ", "is not one question; expected a SELECT"),
    ],
    ids=["column", "of a table", "quotes", "table", "syntax", "conversion", "function", "nothing"],
)
def test_wrong_sql_is_one_line(toys: Run, sql: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as raised:
        toys.query(sql)
    assert "\n" not in str(raised.value)


def test_a_torn_file_and_missing_duckdb_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = made(tmp_path)
    (tmp_path / "rows/.part-000009.parquet.host-1.tmp").write_bytes(b"half")  # of one who was killed
    assert found.query("SELECT count(*) AS n FROM run").to_pylist() == [{"n": PICTURES}]
    with answered(found, "SELECT place FROM run") as answer:
        assert sum(batch.num_rows for batch in answer) == PICTURES
    torn = tmp_path / "rows/part-000001.parquet"
    torn.write_bytes(torn.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"part-000001\.parquet"):
        found.query("SELECT count(*) FROM run")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(DataError, match=r'pip install "sightline\[batch\]"'):
        found.query("SELECT 1")


def test_the_command_without_sql_says_what_can_be_asked(toys: Run) -> None:
    code, out, err = command("query", toys.folder)
    assert (code, err) == (0, "")
    assert "net on toys: grad-cam" in out
    assert f"{PICTURES} of {PICTURES} pictures, {PICTURES} rows; 1 with an error" in out
    for column in COLUMNS:
        assert f"\n{column.name} " in out
    assert all(example.sql in out for example in EXAMPLES)
    facts = json.loads(command("query", toys.folder, "--json")[1])
    assert (facts["rows"], facts["pictures"], facts["errors"], facts["parts"]) == (PICTURES, PICTURES, 1, 3)
    assert [column["name"] for column in facts["tables"]["run"]] == [column.name for column in COLUMNS]


def test_the_command_prints_a_table_and_says_how_many_more(toys: Run) -> None:
    sql = "SELECT picture, correct, about, peak, map, predicted_probability AS p FROM run WHERE place <> 5"
    code, out, err = command("query", toys.folder, sql, "--limit", 2)
    assert (code, err) == (0, "")
    header, first, _, last = out.splitlines()
    assert header.split() == ["picture", "correct", "about", "peak", "map", "p"]
    assert first.split()[:6] == ["p0.jpg", "true", "sex:", "f", "0,", "20"]
    assert "... 6 in all" in first
    assert first.endswith("0.5")
    assert last == "and 9 rows more; --limit shows more of them, --csv FILE writes all"
    wide = command("query", toys.folder, "FROM run LIMIT 1")[1]
    assert wide.startswith("row 1\n  place ")
    assert "\n  error                  -\n" in wide
    assert command("query", toys.folder, "SELECT 1 WHERE false")[1] == "no rows\n"


def test_the_command_writes_json_csv_and_parquet(toys: Run, tmp_path: Path) -> None:
    sql = "SELECT picture, map, about, score, sum(1) OVER () AS n, 'nan'::float AS nothing FROM run ORDER BY place"
    code, out, _ = command("query", toys.folder, sql, "--json", "--limit", 1)
    told = json.loads(out)
    assert code == 0
    assert [each["picture"] for each in told] == [each["picture"] for each in rows()]
    assert told[3]["map"] == row(3)["map"].astype(np.float32).tolist()
    assert told[3]["about"] == {"sex": "m"}
    assert (told[3]["n"], told[3]["nothing"], told[BAD]["map"]) == (PICTURES, None, None)
    assert json.loads(command("query", toys.folder, "SELECT 1 WHERE false", "--json")[1]) == []
    code, out, err = command("query", toys.folder, sql, "--csv", tmp_path / "a.csv")
    assert (code, out) == (0, "")
    assert f"wrote {tmp_path / 'a.csv'}: {PICTURES} rows" in err
    with (tmp_path / "a.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert json.loads(cells[3]["map"]) == told[3]["map"]
    assert json.loads(cells[3]["about"]) == {"sex": "m"}
    assert command("query", toys.folder, "FROM run", "--parquet", tmp_path / "a.parquet")[0] == 0
    assert parquet.read_table(tmp_path / "a.parquet").equals(toys.query("FROM run"))
    joined = (
        "SELECT count(*) AS n FROM run JOIN a USING (picture)",
        "--table",
        f"a={tmp_path / 'a.parquet'}",
        "--json",
    )
    assert json.loads(command("query", toys.folder, *joined)[1]) == [{"n": PICTURES}]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.csv", "a.parquet"]


def test_the_commands_errors_are_one_line(toys: Run, tmp_path: Path) -> None:
    for asked, said in (
        ((tmp_path, "SELECT 1"), "holds no run"),
        ((toys.folder, "FROM run", "--csv", tmp_path / "no" / "a.csv"), "a.csv can't be written"),
        ((toys.folder, "FROM run", "--csv", tmp_path / "a.csv", "--json"), "choose one of --csv, --parquet and --json"),
        ((toys.folder, "FROM run", "--table", "boxes"), "expected NAME=FILE"),
        ((toys.folder, "--csv", tmp_path / "a.csv"), "need a question"),
    ):
        _, out, err = command("query", *asked)
        assert out == ""
        assert said in err
        assert err.count("\n") == 1
    code, out, err = as_users_do("query", toys.folder, "SELECT x FROM run")
    assert (code, out) == (2, "")
    assert err.startswith("error: no column 'x'")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())
