"""sightline methods: the table of methods."""

import json

from rich.console import Console
from rich.table import Table

from sightline.cli import options

WIDE = 170  # columns, from which there is room for the idea


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
            "planar": row.planar,
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
    console = Console()
    wide = console.width >= WIDE
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("name", "reads", "signed", "class", "cost", "needs", "paper", "idea")[: None if wide else -1]:
        table.add_column(name, no_wrap=name in ("name", "reads"), overflow="fold")
    for row in METHODS:
        cells = (
            row.name, row.kind.value, "signed" if row.signed else "", "" if row.discriminative else "any", row.cost,
            row.needs.value, row.paper, row.idea,
        )  # fmt: skip
        table.add_row(*cells[: None if wide else -1])
    console.print(table, highlight=False)
    console.print(
        "[dim]Options go behind the name: rise:masks=4000; --json lists them. "
        "class any: the same map whatever is asked.[/]",
        highlight=False,
    )
