"""sightline targets: what can be asked with --target."""

import json

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sightline.cli import options


def command(as_json: options.Json = False) -> None:
    """List what can be asked of a picture, by what a model gives."""
    from sightline.posing import ANYWHERE, KINDS

    rows = [{"target": form, "of": ["classes"], "says": says} for form, says in ANYWHERE]
    rows += [{"target": row.form, "of": [str(task) for task in row.tasks], "says": row.says} for row in KINDS]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    console = Console()
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("target", no_wrap=True)
    table.add_column("asked of models that give")
    table.add_column("what it asks")
    for row in rows:
        table.add_row(escape(str(row["target"])), ", ".join(row["of"]), escape(str(row["says"])))
    console.print(table, highlight=False)
    console.print(
        "[dim]not:TARGET and TARGET-vs:TARGET go with all of them; --target may be repeated. "
        "Of a box or a region grad-cam says which features count, hires-cam and layer-cam where they are.[/]"
    )
