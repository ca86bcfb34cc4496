"""sightline study export."""


def command() -> None:
    """export."""
