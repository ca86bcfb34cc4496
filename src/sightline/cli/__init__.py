"""The command line: one file per command. Nothing here imports torch before a command needs it."""

import sys
import warnings

import typer
from rich.console import Console
from rich.markup import escape

from sightline.cli import (
    audit,
    compare,
    evaluate,
    explain,
    inspect,
    localize,
    methods,
    metrics,
    mil,
    models,
    query,
    run,
    study,
    targets,
)
from sightline.errors import SightlineError

STOPPED = 130  # the exit code of what was interrupted

app = typer.Typer(
    name="sightline",
    help="See why a vision model decided, and test whether to believe it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for module in (explain, compare, localize, evaluate, run, query, audit, models, methods, targets, metrics):
    app.command(name=module.__name__.rpartition(".")[2])(module.command)
app.add_typer(inspect.app, name="inspect")
app.add_typer(mil.app, name="mil")
app.add_typer(study.app, name="study")


@app.callback(invoke_without_command=True)
def version(show: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    """See why a vision model decided, and test whether to believe it."""
    if show:
        from sightline import __version__

        typer.echo(f"sightline {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; a warning, or an error of ours, is one line on stderr, an error's exit code is 2."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: _say("yellow", "warning", message)
        try:
            app()
        except SightlineError as error:
            _say("bold red", "error", error)
            sys.exit(2)
        except SystemExit as ended:
            if ended.code == STOPPED:
                _say("yellow", "stopped", "long passes and trainings keep what they have; the same command goes on")
            raise


def _say(style: str, what: str, message: object) -> None:
    Console(stderr=True, soft_wrap=True).print(f"[{style}]{what}:[/] {escape(str(message))}", highlight=False)
