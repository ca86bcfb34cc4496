"""What was judged, kept as it comes: a line of JSON per picture, so that an evaluation goes on where it stopped."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.errors import MetricError

FILE = "trials.jsonl"


class Store:
    """Lines about pictures, in memory and, where a folder is given, in its file `trials.jsonl`.

    The first line is the question; what answers another question is never mixed with it. A line that was
    cut short is left out, and its picture judged again; so are pictures that had a problem.
    Raises MetricError where the folder holds the answers to another question, or can't be written to.
    """

    def __init__(self, folder: Path | None, question: Mapping[str, Any]) -> None:
        self.lines: dict[str, dict[str, Any]] = {}
        self._file = None if folder is None else folder / FILE
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            text = self._file.read_text(encoding="utf-8") if self._file.is_file() else ""
            whole = text[: text.rfind("\n") + 1]
            lines = [json.loads(line) for line in whole.splitlines()]
            if lines:
                _check(lines[0], question, self._file)
            self.lines = {line["picture"]: line for line in lines[1:] if "problem" not in line}
            if whole != text or not lines:
                head = whole or json.dumps(question) + "\n"
                self._file.write_text(head, encoding="utf-8")
        except OSError as error:
            raise MetricError(f"{folder} can't be written to ({error}); choose another folder") from error
        except (ValueError, KeyError, TypeError) as error:
            raise MetricError(f"{self._file} holds no evaluation ({error}); choose another folder") from error

    def add(self, line: dict[str, Any]) -> None:
        """Keep what was found of one picture."""
        self.lines[line["picture"]] = line
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def _check(kept: Mapping[str, Any], asked: Mapping[str, Any], file: Path) -> None:
    for name in [*asked, *kept]:
        if kept.get(name) != json.loads(json.dumps(asked.get(name))):
            raise MetricError(
                f"{file} holds another evaluation: its {name} was {_short(kept.get(name))}, "
                f"now it is {_short(asked.get(name))}; choose another folder, or --fresh to begin again"
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
