"""sightline run: explain a whole data set into one table, that can be stopped and gone on with."""


def command() -> None:
    """Explain a whole data set into one table, that can be stopped and gone on with."""
