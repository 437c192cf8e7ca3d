"""A table in a Parquet file reads and writes as pandas does with the whole table in memory."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages import files, stored
from stages.stored import ROW_GROUP, StoredTable, batches, writing


def write(path: Path, frames: Iterable[pd.DataFrame]) -> None:
    with files.replacing(path) as beside, writing(beside) as writer:
        for rows in frames:
            writer.add(rows)


@pytest.fixture(scope="module")
def large() -> pd.DataFrame:
    """Return a table of three row groups, with each type and missing values."""
    rows = 2 * ROW_GROUP + 1000
    numbers = np.random.default_rng(0).normal(size=rows).round(3)
    flags = pd.Series(numbers > 0)
    return pd.DataFrame(
        {
            "number": np.where(numbers > 2, np.nan, numbers),
            "text": pd.Series(np.array(["a", "bc", "é"])[np.arange(rows) % 3], dtype="str").mask(flags),
            "flag": flags,
            "maybe": flags.astype("boolean").mask(numbers > 1),
            "when": pd.Series(pd.date_range("2020-01-01", periods=rows, freq="s", unit="us")).mask(flags),
            "hash": np.arange(rows, dtype=np.uint64) << np.uint64(40),
        }
    )


def test_batches_of_any_size_give_the_bytes_of_the_whole_table(large: pd.DataFrame, tmp_path: Path) -> None:
    large.to_parquet(tmp_path / "whole.parquet", index=False)

    write(tmp_path / "batches.parquet", batches(large, 300_007))

    assert (tmp_path / "batches.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_row_group_ends_when_it_is_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Three batches of 1,000 rows with 100 columns take 2.4 MB.
    monkeypatch.setattr(stored, "ROW_GROUP_BYTES", 3_000_000)
    numbers = np.arange(900_000, dtype=np.float64).reshape(-1, 100)
    frame = pd.DataFrame(numbers, columns=[f"x{place}" for place in range(100)])

    write(tmp_path / "t.parquet", batches(frame, 1000))

    metadata = pq.read_metadata(tmp_path / "t.parquet")
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [4000, 4000, 1000]
    pd.testing.assert_frame_equal(StoredTable(tmp_path / "t.parquet")[frame.columns.tolist()], frame)


def test_columns_and_batches_read_as_pandas_reads_them(large: pd.DataFrame, tmp_path: Path) -> None:
    large.to_parquet(tmp_path / "t.parquet", index=False)

    table = StoredTable(tmp_path / "t.parquet")

    assert len(table) == len(large)
    assert table.columns == list(large)
    pd.testing.assert_frame_equal(table[["when", "text"]], large[["when", "text"]])
    pd.testing.assert_series_equal(table["maybe"], large["maybe"])
    pd.testing.assert_frame_equal(pd.concat(table.batches(), ignore_index=True), large)


def test_metadata_comes_back_and_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    frame, path = pd.DataFrame({"a": [1, 2]}), tmp_path / "t.parquet"
    with writing(path, {b"reading": b"{}"}) as writer:
        writer.add(frame)

    with pytest.raises(pa.ArrowInvalid):
        write(path, [frame, frame.rename(columns={"a": "b"})])

    assert StoredTable(path).metadata[b"reading"] == b"{}"
    assert [each.name for each in tmp_path.iterdir()] == ["t.parquet"]


@pytest.mark.parametrize("places", [[], [0, 5, ROW_GROUP - 1, ROW_GROUP], [2 * ROW_GROUP + 999, 3, 3, 70], [ROW_GROUP]])
def test_rows_are_taken_in_the_order_of_their_places(large: pd.DataFrame, tmp_path: Path, places: list[int]) -> None:
    columns = ["when", "text", "number"]
    large[columns].to_parquet(tmp_path / "t.parquet", index=False)

    taken = StoredTable(tmp_path / "t.parquet").take(np.array(places, np.intp))

    pd.testing.assert_frame_equal(taken, large[columns].iloc[places].reset_index(drop=True))
