"""An audit's files: the report, all figures as JSON, and the evidence of each row as a table that can be queried."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from sightline.audit.found import Audit
from sightline.audit.kept import save_evidence
from sightline.runs.store import place, writable

REPORT, FIGURES = "report.html", "audit.json"
LEFT_OUT = "average", "aligned", "looks"
"""Of an audit, what isn't a figure of it: average maps, and the rows that it is made of."""


def write(audit: Audit, folder: Path, page: str) -> None:
    """Write `page` and the rest to a folder, made if need be, each whole or not at all. Raises DataError."""
    save_evidence(audit, folder)
    with writable(folder):
        place(folder / FIGURES, json.dumps(facts(audit), indent=2, allow_nan=False).encode())
        place(folder / REPORT, page.encode("utf-8", "replace"))


def facts(audit: Any) -> Any:
    """An audit, or any part of it, as values of JSON: all figures but the single rows', which are in the table."""
    if is_dataclass(audit):
        values = {each.name: getattr(audit, each.name) for each in fields(audit)}
        return {name: facts(value) for name, value in values.items() if name not in LEFT_OUT}
    if isinstance(audit, Mapping):
        return {str(name): facts(value) for name, value in audit.items()}
    if isinstance(audit, (list, tuple)):
        return [facts(value) for value in audit]
    return None if isinstance(audit, float) and not isfinite(audit) else audit
