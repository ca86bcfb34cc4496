"""The columns of a run's table: one row for each picture, target and method, or one for a picture that had an error.

Points and boxes are in the picture's pixels, x to the right, y down, box ends exclusive. What isn't known is null.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sightline.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """A row of the table of columns: its name, Arrow type and meaning."""

    name: str
    type: str
    says: str


COLUMNS = (
    Column("place", "int64", "the picture's place in the data set, from 0"),
    Column("picture", "string", "its name in the data set"),
    Column("content", "string", "SHA-256 of its file's bytes; of its pixels where it has no file of its own"),
    Column("width", "int32", "of the picture, in pixels"),
    Column("height", "int32", "of the picture, in pixels"),
    Column("labels", "list<string>", "what the data set says is in it"),
    Column("about", "map<string, string>", "what else the data set says of it"),
    Column("predicted", "int32", "the class with the highest score"),
    Column("predicted_name", "string", "its name"),
    Column("predicted_probability", "float", "its probability, 0 to 1"),
    Column("correct", "bool", "whether it is one of the labels"),
    Column("asked", "string", "the target as it was asked for: predicted, label, or what was typed"),
    Column("label", "string", "of a target asked for as a label: its class as the data set calls it"),
    Column("target", "string", "the target in words"),
    Column("index", "int32", "the class that the target is about"),
    Column("score", "float", "what the map explains, a logit for a class"),
    Column("probability", "float", "of that class, 0 to 1"),
    Column("rank", "int32", "that class's place among all, 0 the highest"),
    Column("method", "string", "with the options that were set, as rise:masks=4000"),
    Column("layer", "string", "whose activations were asked about, or image"),
    Column("question", "string", "hash of all that the run's maps depend on, the same in every row"),
    Column("map", "list<halffloat>", "the raw map row by row, in parts of `scale`"),
    Column("map_height", "int32", "cells"),
    Column("map_width", "int32", "cells"),
    Column("scale", "float", "the largest magnitude in the raw map; 0 for a map of zeros"),
    Column("seen", "list<float>", "x0, y0, x1, y1 of the picture's rectangle that the map covers"),
    Column("peak", "list<int32>", "x, y of the map's maximum; null where nothing is above zero"),
    Column("box", "list<int32>", "x0, y0, x1, y1 around the largest part above 15 % of the maximum"),
    Column("overlay", "string", "the file of the picture with its map, in the run's folder"),
    Column("error", "string", "why there is no map; then all that wasn't known is null"),
)
"""The table, in the order in which the columns are written."""


@cache
def schema() -> "pa.Schema":
    """The columns as an Arrow schema. Raises DataError where pyarrow isn't installed."""
    pa = arrow()
    types = {
        "int64": pa.int64(),
        "int32": pa.int32(),
        "float": pa.float32(),
        "bool": pa.bool_(),
        "string": pa.string(),
        "list<string>": pa.list_(pa.string()),
        "list<int32>": pa.list_(pa.int32()),
        "list<float>": pa.list_(pa.float32()),
        "list<halffloat>": pa.list_(pa.float16()),
        "map<string, string>": pa.map_(pa.string(), pa.string()),
    }
    return pa.schema([pa.field(column.name, types[column.type]) for column in COLUMNS])


def arrow() -> Any:
    """The module pyarrow. Raises DataError where it isn't installed."""
    try:
        import pyarrow
    except ImportError as error:
        raise DataError('runs are kept as Parquet, which needs pyarrow; pip install "sightline[batch]"') from error
    return pyarrow
