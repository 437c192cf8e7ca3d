"""Write answers as CSV or Parquet."""

import csv
import io
from collections.abc import Sequence
from typing import IO, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

_SPECIAL: Final = '[",\r\n]'


def csv_header(names: Sequence[str]) -> bytes:
    """Return the first line."""
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow(names)
    return line.getvalue().encode()


def write_csv(columns: Sequence[pa.Array], rows: int, out: IO[bytes]) -> None:
    """Write a line for each row, with commas; numbers have the fewest digits from which they come back."""
    if rows:
        texts = [_to_text(column) for column in columns]
        ends = pa.array(["\n"]).take(pa.array(np.zeros(rows, np.int8)))
        joined = pc.binary_join_element_wise(*texts, ",")
        lines = pc.binary_join_element_wise(joined, ends, "")
        out.write(_content(lines))


def _content(texts: pa.StringArray) -> memoryview:
    """Return all texts, one after the other."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(texts.buffers()[2])[offsets[0] : offsets[-1]]


def _to_text(column: pa.Array) -> pa.Array:
    if pa.types.is_floating(column.type):
        return _from_floats(column)
    if pa.types.is_dictionary(column.type):
        return _to_text(column.dictionary).take(column.indices)
    texts = column.cast(pa.string()).fill_null("")
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        special = pc.match_substring_regex(texts, _SPECIAL)
        if pc.any(special).as_py():
            quoted = pc.binary_join_element_wise('"', pc.replace_substring(texts, '"', '""'), '"', "")
            texts = pc.if_else(special, quoted, texts)
    return texts


def _from_floats(column: pa.Array) -> pa.Array:
    """Return numbers as Python writes them, after float32 is shortened; a missing one is empty."""
    values = column.to_numpy(zero_copy_only=False)
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].decode()
    texts = pc.split_pattern(pa.array([text]), ",").flatten()
    unlike = pc.or_(pc.match_substring_regex(texts, "^-?0[.]0000"), pc.match_substring(texts, "e"))
    if pc.any(unlike).as_py():
        changed = [repr(float(each)) for each in texts.filter(unlike).to_pylist()]
        texts = pc.replace_with_mask(texts, unlike, pa.array(changed))
    nulls = pc.equal(texts, "null")
    return pc.if_else(nulls, "", texts) if pc.any(nulls).as_py() else texts
