"""The evidence of each row and region, kept as a table that `sightline query` reads."""

from pathlib import Path

from sightline.audit.found import Audit
from sightline.runs.columns import arrow
from sightline.runs.query import EVIDENCE
from sightline.runs.store import place, writable

FILE = "evidence.parquet"


def save_evidence(audit: Audit, folder: str | Path) -> Path:
    """Write `evidence.parquet` to a folder, as RUN/audit: a row for each row of the run and each region.

    Its columns are `runs.query.EVIDENCE`. Raises DataError where it can't be written, or pyarrow isn't installed.
    """
    pa = arrow()
    from pyarrow import parquet

    schema = pa.schema([(column.name, pa.type_for_alias(column.type)) for column in EVIDENCE])
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
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
    with writable(Path(folder)):
        Path(folder).mkdir(parents=True, exist_ok=True)
        place(Path(folder) / FILE, sink.getvalue())
    return Path(folder) / FILE
