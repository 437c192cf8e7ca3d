"""Large tables for the benches: the demo's table, repeated."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP = 1 << 18
HOUR = 3600 * 10**6
"""In microseconds."""


def repeat(source: Path, path: Path, rows: int, key: str | None = None) -> None:
    """Write the rows of `source` again and again until there are `rows`, each with another second in its dates.

    `key` is the name of a column that numbers the rows; None for no such column.
    """
    table, rng = pq.read_table(source), np.random.default_rng(0)
    dates = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    schema = table.schema.append(pa.field(key, pa.int64())) if key else table.schema
    written = 0
    with pq.ParquetWriter(path, schema) as writer:
        while written < rows:
            part = table.slice(0, rows - written)
            for name in dates:
                moments = part[name].to_numpy() + rng.integers(0, HOUR, len(part)).astype("timedelta64[us]")
                column = pa.array(moments, table.schema.field(name).type)
                part = part.set_column(part.schema.get_field_index(name), name, column)
            if key:
                part = part.append_column(key, pa.array(np.arange(written, written + len(part))))
            writer.write_table(part, row_group_size=ROW_GROUP)
            written += len(part)
