"""sightline study serve: the study as a page on this machine."""

import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape


def command(
    study: Annotated[Path, typer.Argument(help="The folder that `sightline study build` wrote.")],
    host: Annotated[
        str, typer.Option(help="The address to listen at; 0.0.0.0 lets other machines take part.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen at; 0 takes a free one.")] = 8000,
) -> None:
    """Serve the page, and keep the answers in the study's folder; Ctrl-C stops it, and nothing is lost."""
    from sightline.study.answers import read
    from sightline.study.server import Server

    plain = Console(soft_wrap=True, highlight=False)
    trouble = Console(stderr=True, soft_wrap=True, highlight=False)
    with Server(study, host, port, lambda problem: trouble.print(f"[bold red]error:[/] {escape(problem)}")) as server:
        plain.print(f"{server.study.kind} study at {server.address}")
        plain.print(f"{_told(len(read(study)))} so far; Ctrl-C stops, and nothing is lost")
        if not _is_local(host):
            plain.print("[yellow]note:[/] whoever reaches this address can take part")
        sys.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            plain.print(f"stopped with {_told(len(read(study)))}")


def _told(answers: int) -> str:
    return "1 answer" if answers == 1 else f"{answers} answers"


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
