"""The evidence of each row and region, kept as a table that `sightline query` reads."""

from pathlib import Path

from sightline.audit.found import Audit
from sightline.runs.columns import arrow
from sightline.runs.store import place, writable

FILE = "evidence.parquet"


def save_evidence(audit: Audit, folder: str | Path) -> Path:
    """Write `evidence.parquet` to a folder, as RUN/audit: a row for each row of the run and each region.

    Its columns are those of the run, `picture`, `place`, `target`, `index` and `method`, and of the audit: `region`,
    `suspect`, `share` of the evidence that lies in it and `area`, its share of what the model saw, 0 to 1, null where
    the picture hasn't the region. Raises DataError where it can't be written, or pyarrow isn't installed.
    """
    pa = arrow()
    from pyarrow import parquet

    types = {
        "picture": pa.string(), "place": pa.int64(), "target": pa.string(), "index": pa.int32(),
        "method": pa.string(), "region": pa.string(), "suspect": pa.bool_(), "share": pa.float64(),
        "area": pa.float64(),
    }  # fmt: skip
    rows = [
        {
            "picture": look.picture, "place": look.place, "target": look.target, "index": look.index,
            "method": audit.method, "region": region.name, "suspect": region.suspect,
            "share": pair and pair[0], "area": pair and pair[1],
        }
        for look in audit.looks
        for region in audit.regions
        for pair in [look.shares[region.name]]
    ]  # fmt: skip
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(rows, schema=pa.schema(list(types.items()))), sink, compression="zstd")
    with writable(Path(folder)):
        Path(folder).mkdir(parents=True, exist_ok=True)
        place(Path(folder) / FILE, sink.getvalue())
    return Path(folder) / FILE
