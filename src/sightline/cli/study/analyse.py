"""sightline study analyse."""


def command() -> None:
    """analyse."""
