"""sightline metrics: the table of metrics."""

import json

from rich.console import Console
from rich.table import Table

from sightline.cli import options

WIDE = 120  # columns, from which there is room for the paper


def command(as_json: options.Json = False) -> None:
    """Print the table of metrics: name, which way is better, what it is about, what it needs of a data set."""
    from sightline.metrics import METRICS

    rows = [
        {
            "name": row.name,
            "better": row.better.value,
            "about": row.about.value,
            "needs": row.needs.value,
            "asks the model": row.asks,
            "paper": row.paper,
            "idea": row.idea,
            "options": row.choices,
        }
        for row in METRICS
    ]
    if as_json:
        print(json.dumps(rows, indent=2, default=str))
        return
    console = Console()
    wide = console.width >= WIDE
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("name", "better", "needs", "idea", "paper")[: None if wide else -1]:
        table.add_column(name, no_wrap=name != "idea", overflow="fold")
    for row in METRICS:
        better = "" if row.better == "neither" else row.better.value
        table.add_row(*(row.name, better, row.needs.value, row.idea, row.paper)[: None if wide else -1])
    console.print(table, highlight=False)
    console.print("[dim]Options go behind the name: pointing:tolerance=0; --json lists them.[/]", highlight=False)
