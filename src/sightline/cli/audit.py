"""sightline audit: where a model looks over a data set, and whether it looks where it should."""


def command() -> None:
    """Where a model looks over a data set, and whether it looks where it should."""
