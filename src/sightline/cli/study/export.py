"""sightline study export: the study as plain files for a crowd platform."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from sightline.cli import options


def command(
    study: Annotated[Path, typer.Argument(help="The folder that `sightline study build` wrote.")],
    out: options.Out = Path("sightline-study-page"),
) -> None:
    """Write the page with all that it needs to a new folder, to be put on any web server; without the key.

    Opened by Mechanical Turk the page submits its answers there; else it hands them to the participant as a file.
    """
    from sightline.study.export import export

    written = export(study, out)
    plain = Console(soft_wrap=True, highlight=False)
    plain.print(
        f"wrote {escape(str(written[0]))} and {len(written) - 1} pictures; the key stays in {escape(str(study))}"
    )
    plain.print(f"[dim]answers come back with: sightline study analyse {escape(str(study))} --answers FILE[/]")
