"""sightline query: ask the table of a run in SQL."""


def command() -> None:
    """Ask the table of a run in SQL."""
