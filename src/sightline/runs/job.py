"""A job: all that one worker needs to explain parts of a run, whatever hands the parts out."""

from dataclasses import dataclass, field
from pathlib import Path

from sightline.layers import LayerLike
from sightline.model import Model
from sightline.trials import DataSet
from sightline.types import Method


@dataclass(frozen=True)
class Wrote:
    """A part that is written: how many pictures it has, and how many of them had an error."""

    part: int
    pictures: int
    errors: int


@dataclass(frozen=True, eq=False)
class Job:
    """Explain parts of a data set, `part_size` pictures each, shown to the model `batch_size` at a time."""

    model: Model
    data: DataSet = field(repr=False)
    folder: Path
    targets: tuple[str, ...]
    methods: tuple[Method, ...]
    layer: LayerLike | None
    part_size: int
    batch_size: int
    overlays: bool
    seed: int

    def write(self, part: int) -> Wrote:
        """One part alone in this process, from its pictures to its file; reading runs ahead of the model."""
        raise NotImplementedError
