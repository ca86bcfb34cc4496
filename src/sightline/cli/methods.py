"""sightline methods: the table of methods."""

import json

from rich.console import Console
from rich.table import Table

from sightline.cli import options


def command(as_json: options.Json = False) -> None:
    """Print the table of methods: name, paper, what it reads, whether it is signed, its cost."""
    from sightline.methods import METHODS

    rows = [
        {
            "name": row.name,
            "paper": row.paper,
            "idea": row.idea,
            "kind": row.kind.value,
            "signed": row.signed,
            "discriminative": row.discriminative,
            "linear_head": row.linear_head,
            "cost": row.cost,
        }
        for row in METHODS
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("name", "idea", "signed", "class", "cost", "paper"):
        table.add_column(name)
    for row in METHODS:
        table.add_row(
            row.name, row.idea, "signed" if row.signed else "", "" if row.discriminative else "any", row.cost, row.paper
        )
    Console().print(table, highlight=False)
