"""sightline models: what can be named with --model."""

import json
from typing import Annotated, Any

import typer
from rich.columns import Columns
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sightline.cli import options
from sightline.errors import ModelError


def command(
    search: Annotated[str, typer.Argument(help="Only names that contain this.")] = "",
    as_json: options.Json = False,
) -> None:
    """List the models of every source; timm's where it is installed."""
    from sightline.sources import SOURCES

    rows: list[dict[str, Any]] = []
    for source in SOURCES:
        try:
            names = [name for name in source.names() if search in name]
        except ModelError as error:
            names = []
            Console(stderr=True).print(f"[yellow]{source.name}:[/] {error}")
        purposes = {name: source.purpose(name) for name in names} if source.purpose else {}
        rows.append({"source": source.name, "says": source.says, "names": names, "purposes": purposes})
    if as_json:
        found = [
            {"name": name, "source": row["source"]} | ({"for": row["purposes"][name]} if row["purposes"] else {})
            for row in rows
            for name in row["names"]
        ]
        print(json.dumps(found, indent=2))
        return
    console = Console()
    for row in rows:
        names = row["names"]
        if search and not names:
            continue
        says = escape(row["says"])
        count = f"{len(names)} models, " if names else ""
        console.print(f"[bold]{row['source']}[/] [dim]{count}{says}[/]", highlight=False)
        if row["purposes"]:
            table = Table.grid(padding=(0, 3))
            told = ""
            for name, purpose in row["purposes"].items():
                table.add_row(name, "" if purpose == told else f"[dim]{escape(purpose)}[/]")  # once for several nets
                told = purpose
            console.print(table, "", highlight=False)
            continue
        shown = names if len(names) <= 120 else names[:40]
        console.print(Columns(shown, padding=(0, 3)), highlight=False)
        if len(shown) < len(names):
            console.print(f"[dim]... and {len(names) - len(shown)} more: sightline models PART_OF_A_NAME[/]")
        console.print()
    console.print("[dim]Your own: --model package.module:factory --weights file.safetensors[/]")
