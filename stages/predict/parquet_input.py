"""Read Parquet in batches of rows; the memory doesn't grow with the file."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.parquet

from stages.errors import UserError
from stages.partitions import storage

MAGIC: Final = b"PAR1"
_BUFFER: Final = 1 << 20
"""How many bytes of a column are read at once."""

Group = tuple[int, int, tuple[int, int]]
"""The first row, the number of rows, and the bytes of the file with them: their start and number."""


class Groups:
    """The rows of a Parquet file by their row groups. Raises UserError for a damaged file."""

    def __init__(self, path: str, texts: Sequence[str] = ()) -> None:
        """Open the file; the columns `texts` are read as dictionaries, which is quicker if values recur."""
        self.path = path
        try:
            # Microseconds allow dates up to the year 9999; in nanoseconds, INT96 would turn 9999-12-31 into 1816.
            self._file = pyarrow.parquet.ParquetFile(
                storage.open_file(path) if storage.is_url(path) else pa.OSFile(path),
                read_dictionary=list(texts),
                coerce_int96_timestamp_unit="us",
                buffer_size=_BUFFER,
                pre_buffer=False,
            )
        except (pa.ArrowException, OSError) as error:
            raise _explain(path, error) from None
        self.names = self._file.schema_arrow.names

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close(force=True)

    def kinds(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the columns' types; others, in the names of folders, are text."""
        schema = self._file.schema_arrow
        types = [schema.field(name).type if name in self.names else pa.string() for name in names]
        return tuple(str(each.value_type if pa.types.is_dictionary(each) else each) for each in types)

    def sizes(self) -> list[tuple[int, tuple[int, int]]]:
        """Return the number of rows of each row group, and its bytes."""
        return [self._size(place) for place in range(self._file.metadata.num_row_groups)]

    def _size(self, place: int) -> tuple[int, tuple[int, int]]:
        group: Any = self._file.metadata.row_group(place)
        columns = [group.column(each) for each in range(group.num_columns)]
        starts = [each.dictionary_page_offset or each.data_page_offset for each in columns]
        ends = [start + each.total_compressed_size for start, each in zip(starts, columns, strict=True)]
        return group.num_rows, (min(starts), max(ends) - min(starts))

    def read(self, start: int, rows: int, wanted: Sequence[str], at_once: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield `rows` rows from the row `start` on, each batch with the number of its first row."""
        first, at, chosen = 0, 0, list[int]()
        for place in range(self._file.metadata.num_row_groups):
            count = self._file.metadata.row_group(place).num_rows
            if first < start + rows and first + count > start:
                at = at if chosen else first
                chosen.append(place)
            first += count
        columns = [name for name in self.names if name in set(wanted)]
        try:
            # On one thread, because workers are processes.
            for batch in self._file.iter_batches(at_once, row_groups=chosen, columns=columns, use_threads=False):
                low, high = max(start - at, 0), min(start + rows - at, batch.num_rows)
                if low < high:
                    yield at + low, batch.slice(low, high - low)
                at += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise _explain(self.path, error) from None


def group_rows(groups: Groups, bound: int) -> Iterator[Group]:
    """Yield row groups, together while they have at most `bound` rows, and in parts if one has more."""
    first, rows, low, high = 0, 0, 0, 0
    for count, (start, length) in groups.sizes():
        if rows and rows + count > bound:
            yield first, rows, (low, high - low)
            first, rows = first + rows, 0
        low, high = (min(low, start), max(high, start + length)) if rows else (start, start + length)
        rows += count
        while rows > bound:
            yield first, bound, (low, high - low)
            first, rows = first + bound, rows - bound
    if rows:
        yield first, rows, (low, high - low)


def _explain(path: str, error: Exception) -> Exception:
    if storage.is_url(path) and isinstance(error, OSError) and error.errno:
        return error  # the store's, not the file's
    return UserError(f"{path}: is a damaged Parquet file ({' '.join(str(error).split())}); write it again")
