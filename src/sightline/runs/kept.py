"""A run that is kept in a folder: its rows, one by one with their maps, or as a table."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sightline.errors import DataError, first_line
from sightline.geometry import Framing
from sightline.regions import Heat
from sightline.runs.columns import COLUMNS, arrow
from sightline.runs.query import query
from sightline.runs.store import ROWS, read_question

if TYPE_CHECKING:
    import pyarrow as pa

    from sightline.trials import DataSet

AT_ONCE = 64  # rows that are in memory while they are read


@dataclass(frozen=True, eq=False)
class Row:
    """One row: a picture's map of one target by one method; `values` are all columns but the map."""

    values: Mapping[str, Any]
    map: Tensor = field(repr=False)  # raw (h, w), float32

    def __getitem__(self, column: str) -> Any:
        return self.values[column]

    @property
    def size(self) -> tuple[int, int]:
        """The picture's (width, height)."""
        return self["width"], self["height"]

    @property
    def framing(self) -> Framing:
        """Where the map lies in the picture; its `image` are the map's own cells."""
        x0, y0, x1, y1 = self["seen"]
        return Framing(picture=self.size, image=(self.map.shape[1], self.map.shape[0]), seen=(x0, y0, x1, y1))

    @property
    def heat(self) -> Heat:
        """The raw map (height, width) in the picture's pixels, bilinear; NaN where the model could not look."""
        return np.asarray(self.framing.to_picture(self.map).numpy())


class Run:
    """What `sightline run` wrote to a folder, finished or not.

    `data` is the data set, where it can't be opened again by its name. Raises DataError where the folder holds no run,
    or none of its parts yet.
    """

    def __init__(self, folder: str | Path, data: "DataSet | None" = None) -> None:
        self.folder = Path(folder)
        self.question = read_question(self.folder)
        self._data = data
        if not self.parts:
            raise DataError(f"{self.folder} holds a run without a single part yet; start it again, it goes on")

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {self.question['model']} on {self.question['data']})"

    @property
    def parts(self) -> list[Path]:
        """The files with rows that are there, in the data set's order."""
        return sorted((self.folder / ROWS).glob("part-*.parquet"))

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods' names, with their options."""
        return tuple(name for name, _ in self.question["methods"])

    @cached_property
    def data(self) -> "DataSet":
        """The data set that was run over. Raises DataError where it can't be opened again."""
        if self._data is not None:
            return self._data
        from sightline.datasets import open_data, subset

        asked = self.question
        if asked["opened"] is None:
            raise DataError(
                f"{asked['data']} was given as an object; give it again, as Run({str(self.folder)!r}, data)"
            )
        data = open_data(asked["opened"], layout=asked["layout"], split=asked["split"])
        return data if asked["sample"] is None else subset(data, asked["sample"], asked["seed"])

    def table(self, columns: Sequence[str] | None = None) -> "pa.Table":
        """All rows as an Arrow table, in order; by default all columns but the maps."""
        pa = arrow()
        from pyarrow import parquet

        names = [column.name for column in COLUMNS if column.name != "map"] if columns is None else list(columns)
        try:
            return pa.concat_tables([parquet.read_table(part, columns=names) for part in self.parts])
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self.folder / ROWS} can't be read ({first_line(error)})") from error

    def query(self, sql: str, tables: "Mapping[str, pa.Table | str | Path] | None" = None) -> "pa.Table":
        """The answer to one SELECT on the table `run` (and `evidence`, once audited); see `runs.query.query`."""
        return query(self, sql, tables)

    def rows(self, method: str | None = None, pictures: Collection[str] | None = None) -> Iterator[Row]:
        """The rows that have a map, in order, of one method or of all, and of all pictures or some.

        Few of them are in memory at a time.
        """
        pa = arrow()
        from pyarrow import parquet

        only = None if pictures is None else set(pictures)
        try:
            for part in self.parts:
                with parquet.ParquetFile(part) as file:
                    for some in file.iter_batches(AT_ONCE):
                        yield from _rows(some, method, only)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self.folder / ROWS} can't be read ({first_line(error)})") from error

    def errors(self) -> list[tuple[str, str]]:
        """Each picture that had an error, and what it was."""
        table = self.table(["picture", "error"]).to_pylist()
        return [(row["picture"], row["error"]) for row in table if row["error"] is not None]


def _rows(some: "pa.RecordBatch", method: str | None, pictures: Collection[str] | None) -> Iterator[Row]:
    """Those of some rows that have a map, of one method or of all, and of all pictures or some."""
    maps = some.column("map")
    cells, ends = maps.values.to_numpy(zero_copy_only=False), maps.offsets.to_numpy()
    named = zip(some.column("picture").to_pylist(), some.column("method").to_pylist(), strict=True)
    places = [
        place
        for place, (picture, by) in enumerate(named)
        if maps[place].is_valid and method in (None, by) and (pictures is None or picture in pictures)
    ]
    every = some.drop_columns(["map"]).take(places).to_pylist(maps_as_pydicts="strict") if places else []
    for place, values in zip(places, every, strict=True):
        own = cells[ends[place] : ends[place + 1]].astype(np.float32) * np.float32(values["scale"])
        yield Row(values, torch.from_numpy(own).reshape(values["map_height"], values["map_width"]))
