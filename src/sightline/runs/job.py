"""A job: all that one worker needs to explain parts of a run, whatever hands the parts out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from sightline.ahead import ahead
from sightline.layers import LayerLike
from sightline.model import Model
from sightline.runs.explaining import Answers, Explainer, Failed
from sightline.runs.overlays import drawn, name
from sightline.runs.reading import Batch, Reader
from sightline.runs.rows import Made, Row, made, unread
from sightline.runs.store import OVERLAYS, place, writable, write_part
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
    """Explain parts of a data set, `part_size` pictures each, shown to the model `batch_size` at a time.

    `classes` is how many the model has, `question` the hash that stands in every row.
    """

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
    classes: int
    question: str

    def write(self, part: int) -> Wrote:
        """One part alone in this process, from its pictures to its file; reading runs ahead of the model."""
        rows: list[Row] = []
        for batch in ahead(partial(self.reader, part), self.batches(part)):
            rows += self.rows(batch, self.explain(batch))
        return self.keep(part, rows)

    def places(self, part: int) -> range:
        """The places of a part's pictures in the data set."""
        return range(part * self.part_size, min((part + 1) * self.part_size, len(self.data)))

    def batches(self, part: int) -> list[range]:
        """The places of each batch of a part, always the same, so that its rows are the same bit for bit."""
        places = self.places(part)
        return [places[start : start + self.batch_size] for start in range(0, len(places), self.batch_size)]

    @cached_property
    def reader(self) -> Reader:
        """What reads pictures; it needs no model, so it can be sent to another process."""
        return Reader(self.data, self.model.preprocess, self.overlays)

    @cached_property
    def explainer(self) -> Explainer:
        """What asks the model."""
        return Explainer(self.model, self.targets, self.methods, self.layer, self.seed, self.classes)

    def explain(self, batch: Batch) -> list[Answers | Failed]:
        """The model's answers about a batch, on its own device."""
        return self.explainer(batch)

    def rows(self, batch: Batch, answers: Sequence[Answers | Failed]) -> list[Row]:
        """The rows of a batch, in order; its overlays are written."""
        found = [unread(read, self.question) for read in batch.pictures if read.error is not None]
        found += [each for one in answers for each in made(one, self.model.labels, self.question)]
        found.sort(key=lambda each: int(each.row["place"]))
        if self.overlays:
            self._draw(batch, found)
        return [each.row for each in found]

    def keep(self, part: int, rows: Sequence[Row]) -> Wrote:
        """Write all rows of a part, whole or not at all."""
        write_part(self.folder, part, rows)
        errors = {row["place"] for row in rows if row.get("error") is not None}
        return Wrote(part, len(self.places(part)), len(errors))

    def _draw(self, batch: Batch, found: Sequence[Made]) -> None:
        small, framings = batch.small(), {read.place: read.framing for read in batch.pictures}
        first = self.places(batch.part).start
        with writable(self.folder):
            (self.folder / OVERLAYS / f"part-{batch.part:06}").mkdir(parents=True, exist_ok=True)
        drawn_of: Counter[int] = Counter()
        for each in found:
            at, framing = each.row["place"], framings[each.row["place"]]
            if each.map is None or framing is None:
                continue
            drawn_of[at] += 1
            each.row["overlay"] = name(batch.part, at - first, drawn_of[at], each.row["target"], each.row["method"])
            data = drawn(each, small[at], framing)
            with writable(self.folder):
                place(self.folder / each.row["overlay"], data, lasting=False)
