"""The cells of a CSV file as text, kept in a file from which one column is read at a time."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc


@dataclass(frozen=True, slots=True)
class TextColumns:
    """The rows after the header."""

    path: Path
    rows: int

    @classmethod
    def write(cls, batches: Iterable[pa.RecordBatch], path: Path) -> "TextColumns":
        """Write the rows of all batches except the first row, which is the header."""
        rows, writer = -1, None
        with pa.OSFile(str(path), "wb") as file:
            for batch in batches:
                writer = writer or pa.ipc.new_file(file, batch.schema)
                writer.write_batch(batch.slice(1) if rows < 0 else batch)
                rows += len(batch)
            if writer:
                writer.close()
        return cls(path, rows)

    def read(self, place: int) -> pa.ChunkedArray:
        """Return the column at a position."""
        options = pa.ipc.IpcReadOptions(included_fields=[place], use_threads=False)
        with pa.OSFile(str(self.path)) as file, pa.ipc.open_file(file, options=options) as batches:
            chunks = (batches.get_batch(batch).column(0) for batch in range(batches.num_record_batches))
            return pa.chunked_array(chunks, pa.string())

    def is_blank(self, place: int) -> bool:
        """Return whether a column has only blanks."""
        return not pc.any(pc.not_equal(pc.utf8_trim_whitespace(self.read(place)), "")).as_py()

    def counts_rows(self) -> bool:
        """Return whether the first column is 0, 1, 2, … or 1, 2, 3, …."""
        cells = pc.utf8_trim_whitespace(self.read(0))
        numbers = (pa.array(np.arange(start, start + self.rows)).cast(pa.string()) for start in (0, 1))
        return any(cells.equals(pa.chunked_array([each])) for each in numbers)
