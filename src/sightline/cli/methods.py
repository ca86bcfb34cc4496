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
            "layered": row.layered,
            "seeded": row.seeded,
            "needs": row.needs.value,
            "options": row.choices,
            "cost": row.cost,
        }
        for row in METHODS
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("name", "idea", "signed", "class", "cost", "needs", "paper"):
        table.add_column(name)
    for row in METHODS:
        table.add_row(
            row.name, row.idea, "signed" if row.signed else "", "" if row.discriminative else "any", row.cost,
            row.needs.value, row.paper,
        )  # fmt: skip
    console = Console()
    console.print(table, highlight=False)
    console.print("[dim]Options go behind the name: rise:masks=4000. --json lists them.[/]", highlight=False)
