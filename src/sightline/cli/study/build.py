"""sightline study build."""


def command() -> None:
    """build."""
