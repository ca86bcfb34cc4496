"""sightline study: let people judge maps; one file per command."""

import typer

from sightline.cli.study import analyse, build, export, serve

app = typer.Typer(no_args_is_help=True, help="Let people judge maps: build a study from a run, serve it, analyse it.")
for module in (build, serve, export, analyse):
    app.command(name=module.__name__.rpartition(".")[2])(module.command)
