"""Reading, whatever comes: what pandas writes is read back, and no bytes give anything but a table or one line."""

import contextlib
import gzip
import tempfile
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from stages.errors import UserError
from stages.params import DataParams
from stages.table import reader

LONGEST = 1.0
"""Seconds that a few bytes may take."""

WORDS = st.text(st.characters(categories=["Ll", "Lu"], max_codepoint=0xFF), min_size=1, max_size=9)
LATIN = WORDS.filter(
    lambda word: word.casefold() not in {"true", "false", "inf", "infinity", "nan", "null", "none", "na"}
)
# Without a carriage return, which pandas does not quote.
TEXT = st.tuples(LATIN, st.text("abc ,;\t|'\"\n:^0", max_size=6), LATIN).map("".join)
ROW = st.tuples(st.floats(-1e30, 1e30), TEXT, st.booleans(), LATIN)
CSV_BYTES = st.lists(
    st.sampled_from(
        [b"a", b"y", b"1", b"-", b".", b",", b";", b'"', b"\n", b"\r\n", b"\t", b"2020-01-31", b"\xe9", b"NA"]
    )
).map(b"".join)


def read(content: bytes) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(content)
        return reader.read(DataParams(path=str(path), target="y", task="auto"))


@pytest.mark.parametrize(
    ("encoding", "delimiter"), [("utf-8", ","), ("utf-8-sig", ";"), ("utf-8", "\t"), ("utf-8", "|")]
)
@given(rows=st.lists(ROW, min_size=1, max_size=8))
@settings(max_examples=25, phases=[Phase.explicit, Phase.generate])
def test_what_pandas_writes_is_read_back(
    encoding: str, delimiter: str, rows: list[tuple[float, str, bool, str]]
) -> None:
    frame = pd.DataFrame(rows, columns=["große Zahl", "a.b", "class", "y"])

    found = read(frame.to_csv(index=False, sep=delimiter).encode(encoding))

    pd.testing.assert_frame_equal(found, frame, check_dtype=False)


@given(st.one_of(st.binary(max_size=300), CSV_BYTES, st.binary(max_size=99).map(gzip.compress)))
@settings(max_examples=300, phases=[Phase.explicit, Phase.generate])
def test_any_bytes_give_a_table_or_one_line(content: bytes) -> None:
    start = time.perf_counter()
    with contextlib.suppress(UserError):
        assert "y" in read(content)
    assert time.perf_counter() - start < LONGEST


@given(st.binary(max_size=300))
def test_bytes_that_call_themselves_parquet_give_one_line(content: bytes) -> None:
    with pytest.raises(UserError, match="a damaged Parquet file"):
        read(b"PAR1" + content + b"PAR1")


def test_the_number_of_threads_changes_nothing(table: pd.DataFrame) -> None:
    content = table.to_csv(index=False).encode()
    cores = pa.cpu_count()
    try:
        pa.set_cpu_count(1)
        alone = read(content)
    finally:
        pa.set_cpu_count(cores)

    pd.testing.assert_frame_equal(alone, read(content))
