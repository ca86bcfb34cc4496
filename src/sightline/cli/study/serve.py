"""sightline study serve."""


def command() -> None:
    """serve."""
