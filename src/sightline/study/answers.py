"""What was answered: a table in SQLite in the study's folder, safe on disk before anyone is told that it is.

Each call opens the file anew, so threads and processes need not know of one another. The first answer of a participant
to a trial counts; that the same is said again changes nothing, so whoever isn't sure that an answer arrived repeats it.
"""

import csv
import json
import math
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sightline.errors import DataError, first_line
from sightline.study.trials import ANSWERS, Answer, Study, Trial

NAME = re.compile(r"[A-Za-z0-9_.~-]{1,64}")
"""What a participant may be called."""

LONGEST = 7 * 24 * 3600.0  # seconds that an answer may have taken: a page may lie open for days, but not for ever
PATIENCE = 30.0  # seconds to wait for another who writes
FORM = "answers"  # the field in which the exported page hands its answers to a crowd platform

_TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    participant TEXT NOT NULL, trial TEXT NOT NULL, answer INTEGER NOT NULL, seconds REAL NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (participant, trial)
);
CREATE TABLE IF NOT EXISTS participants (participant TEXT PRIMARY KEY, place INTEGER NOT NULL UNIQUE);
"""

_NEXT = "INSERT OR IGNORE INTO participants SELECT ?, coalesce(max(place), -1) + 1 FROM participants"


class NoAnswer(DataError):
    """What was sent or brought is no answer to a trial."""


@dataclass(frozen=True)
class Taken:
    """What became of answers that were brought: how many are new, how many were there already, what was wrong."""

    added: int
    known: int
    problems: tuple[str, ...]


def read(folder: Path) -> list[Answer]:
    """All answers, in the order in which they came; none where nobody has answered. Raises DataError."""
    if not (folder / ANSWERS).is_file():
        return []
    with _opened(folder) as table:
        rows = table.execute("SELECT participant, trial, answer, seconds, at FROM answers ORDER BY rowid")
        return [Answer(*row) for row in rows]


def add(folder: Path, answer: Answer) -> bool:
    """Keep an answer; when this returns it is on disk. Whether it is new: the first one counts. Raises DataError."""
    with _opened(folder) as table, table:
        return table.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)", astuple(answer)).rowcount == 1


def place(folder: Path, participant: str) -> int:
    """The participant's place among all, from 0: the one it has, or for a new one the next. Raises DataError."""
    with _opened(folder) as table, table:
        table.execute(_NEXT, (participant,))
        row = table.execute("SELECT place FROM participants WHERE participant = ?", (participant,)).fetchone()
    return int(row[0])


def done(folder: Path, participant: str) -> list[str]:
    """The trials that a participant has answered. Raises DataError."""
    with _opened(folder) as table:
        return [row[0] for row in table.execute("SELECT trial FROM answers WHERE participant = ?", (participant,))]


def take(folder: Path, files: Sequence[Path]) -> Taken:
    """Bring in answers that the exported page handed out: its JSON, one or a list of them, or a crowd platform's CSV.

    In a CSV they are in the column `answers`, as Mechanical Turk has it `Answer.answers`. What isn't an answer to one
    of this study's trials is told, and the rest goes on. Raises DataError where the folder holds no study, or can't
    be written to.
    """
    trials = {trial.id: trial for trial in Study.load(folder).trials}
    added = known = 0
    problems: list[str] = []
    found: list[Answer] = []
    for file in files:
        for place_, told in _told(file, problems):
            found += _answers(told, place_, trials, problems)
    if found:
        with _opened(folder) as table, table:
            before = table.total_changes
            table.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)", map(astuple, found))
            added = table.total_changes - before
        known = len(found) - added
    return Taken(added, known, tuple(problems))


def checked(told: Any, trials: Mapping[str, Trial]) -> tuple[str, int, float]:
    """The trial, the place of the option and the seconds in what was sent. Raises NoAnswer for what is no answer."""
    if not isinstance(told, Mapping):
        raise NoAnswer("expected an object with trial, answer and seconds")
    trial = trials.get(str(told.get("trial")))
    if trial is None:
        raise NoAnswer(f"trial {_short(told.get('trial'))} is none of this study's")
    answer, seconds = told.get("answer"), told.get("seconds")
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < len(trial.options):
        raise NoAnswer(f"answer {_short(answer)} to trial {trial.id}; expected 0 to {len(trial.options) - 1}")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= LONGEST:  # nor NaN
        raise NoAnswer(f"seconds {_short(seconds)} in trial {trial.id}; expected 0 to {LONGEST:.0f}")
    return trial.id, answer, float(seconds)


def named(participant: Any) -> str:
    """A participant's name. Raises NoAnswer for what can't be one."""
    if not isinstance(participant, str) or not NAME.fullmatch(participant):
        raise NoAnswer(
            f"participant {_short(participant)}; expected 1 to 64 letters, digits, points, dashes and underscores"
        )
    return participant


def now() -> str:
    """This moment, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _told(file: Path, problems: list[str]) -> Iterator[tuple[str, Any]]:
    """Each participant's answers in a file, as JSON values, and where they are."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{file} can't be read ({first_line(error)})")
        return
    if file.suffix.lower() == ".csv":
        yield from _of_table(file, text, problems)
        return
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        problems.append(f"{file} is no JSON ({first_line(error)}); expected what the exported page hands out")
        return
    parts = told if isinstance(told, list) else [told]
    yield from ((f"{file}, part {n}" if len(parts) > 1 else str(file), part) for n, part in enumerate(parts, 1))


def _of_table(file: Path, text: str, problems: list[str]) -> Iterator[tuple[str, Any]]:
    csv.field_size_limit(10**8)
    rows = csv.DictReader(text.splitlines(keepends=True))
    column = next((name for name in rows.fieldnames or () if name.rpartition(".")[2].strip() == FORM), None)
    if column is None:
        problems.append(f"{file} has no column `{FORM}`; it has {', '.join(rows.fieldnames or ()) or 'none'}")
        return
    for n, row in enumerate(rows, 2):
        try:
            yield f"{file}, row {n}", json.loads(row[column] or "")
        except (ValueError, RecursionError) as error:
            problems.append(f"{file}, row {n}: its {column} is no JSON ({first_line(error)})")


def _answers(told: Any, where: str, trials: Mapping[str, Trial], problems: list[str]) -> Iterator[Answer]:
    """The answers of one participant that are good; what is wrong with the others."""
    try:
        if not isinstance(told, Mapping) or not isinstance(told.get("answers"), list):
            raise NoAnswer("expected an object with `participant` and a list of `answers`")
        participant = named(told.get("participant"))
    except NoAnswer as error:
        problems.append(f"{where}: {error}")
        return
    for n, each in enumerate(told["answers"], 1):
        try:
            yield Answer(participant, *checked(each, trials), _moment(each.get("at")))
        except NoAnswer as error:
            problems.append(f"{where}, answer {n}: {error}")


def _moment(at: Any) -> str:
    """When, in UTC as ISO 8601. Raises NoAnswer for what is no such time."""
    try:
        return datetime.fromisoformat(at).astimezone(UTC).isoformat(timespec="milliseconds")
    except (TypeError, ValueError, OverflowError) as error:
        raise NoAnswer(f"at {_short(at)}; expected a time as 2026-01-31T12:00:00Z") from error


def _short(value: Any) -> str:
    text = json.dumps(value) if not isinstance(value, float) or math.isfinite(value) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


@contextmanager
def _opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """The file, made if need be; what is committed in it outlives a crash and a loss of power."""
    file = folder / ANSWERS
    try:
        with closing(sqlite3.connect(file, timeout=PATIENCE)) as table:
            table.execute("PRAGMA journal_mode = WAL")
            table.execute("PRAGMA synchronous = FULL")
            table.executescript(_TABLES)
            yield table
    except sqlite3.Error as error:
        raise DataError(
            f"{file} can't be read or written ({first_line(error)}); what was acknowledged is safe: free the disk, "
            "or mend the folder, and go on"
        ) from error
