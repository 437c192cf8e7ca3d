"""The cells of a CSV file as text, kept in a file from which one column is read at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
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

    def read(self, place: int) -> Iterator[pa.Array]:
        """Yield the cells of the column at a position, piece by piece."""
        options = pa.ipc.IpcReadOptions(included_fields=[place], use_threads=False)
        with pa.OSFile(str(self.path)) as file, pa.ipc.open_file(file, options=options) as batches:
            for batch in range(batches.num_record_batches):
                yield batches.get_batch(batch).column(0)

    def trimmed(self, place: int) -> Iterator[tuple[int, pa.Array]]:
        """Yield the cells of a column without blanks around them, with the number of rows before them."""
        start = 0
        for cells in self.read(place):
            yield start, pc.utf8_trim_whitespace(cells)
            start += len(cells)

    def is_blank(self, place: int) -> bool:
        """Return whether a column has only blanks."""
        return not any(pc.any(pc.not_equal(cells, "")).as_py() for _, cells in self.trimmed(place))

    def counts_rows(self) -> bool:
        """Return whether the first column is 0, 1, 2, … or 1, 2, 3, …."""
        return any(
            all(
                cells.equals(pa.array(np.arange(first + start, first + start + len(cells))).cast(pa.string()))
                for start, cells in self.trimmed(0)
            )
            for first in (0, 1)
        )

    def find(self, texts: list[str]) -> int | None:
        """Return the first row whose cells are these texts; None if there is none."""
        start = 0
        for number, first in enumerate(self.read(0)):
            if pc.any(pc.equal(first, texts[0])).as_py():
                with pa.OSFile(str(self.path)) as file, pa.ipc.open_file(file) as batches:
                    cells = batches.get_batch(number).columns
                same = reduce(pc.and_, map(pc.equal, cells, texts))
                row = pc.index(same, value=True).as_py()
                if row >= 0:
                    return start + int(row)
            start += len(first)
        return None
