"""Parquet and Arrow as an attacker or a broken disk would send them."""

import io
import random
import resource
import struct
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.service.arrow_bodies import ARROW, KINDS, PARQUET

QUIET = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
BATCH = {"size": [0.5, 1.0], "a b": [1.0, None], "kind": ["one", "two"], "flag": [True, False]}
MEBIBYTE = 1024 * 1024


def parquet(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def stream(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return out.getvalue()


@cache
def good(kind: str) -> bytes:
    table = pa.table(BATCH).append_column("when", pa.array([0, 1], pa.timestamp("us")))
    return parquet(table, compression="zstd") if kind == PARQUET else stream(table, compression="zstd")


def of_size(size: int, **columns: Any) -> pa.Table:
    """Give rows that are all alike, which take next to nothing in a file."""
    rows = {"size": pa.repeat(0.5, size), "kind": pa.repeat("one", size), "flag": pa.repeat(True, size)}
    return pa.table(rows | columns)


def refusal(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    detail: str = answer.json()["detail"]
    return detail


@KINDS
@QUIET
@given(cut=st.floats(0, 0.999))
def test_a_table_cut_off_anywhere_is_never_the_service_s_failure(service: Any, kind: str, cut: float) -> None:
    body = good(kind)
    answer = service.post(body[: int(len(body) * cut)], kind)
    # A stream may end behind any batch; a file without its end is none.
    assert 400 <= answer.status_code < 500 or (kind == ARROW and answer.status_code == 200)


@KINDS
@QUIET
@given(changes=st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4))
def test_a_table_changed_anywhere_is_never_the_service_s_failure(
    service: Any, kind: str, changes: list[tuple[float, bytes]]
) -> None:
    body = bytearray(good(kind))
    for place, new in changes:
        at = int(place * len(body))
        body[at : at + len(new)] = new
    assert service.post(bytes(body), kind).status_code < 500


@KINDS
@QUIET
@example(body=b"PAR1")
@example(body=b"PAR1\xff\xff\xff\x7fPAR1")
@example(body=b"\xff\xff\xff\xff\xff\xff\xff\x7f")
@given(body=st.binary(max_size=200))
def test_bytes_that_are_no_table_are_refused(service: Any, kind: str, body: bytes) -> None:
    assert 400 <= service.post(body, kind).status_code < 500


def test_a_file_whose_directory_ends_the_process_of_pyarrow_is_refused_or_read(service: Any) -> None:
    """A histogram of levels that does not fit the column: pyarrow's view of the column would abort."""
    random.seed(1)
    body = good(PARQUET)
    size = int.from_bytes(body[-8:-4], "little")
    for place in random.sample(range(len(body) - 8 - size, len(body) - 8), 400):
        changed = bytearray(body)
        changed[place] = (changed[place] + 16) % 256
        assert service.post(bytes(changed), PARQUET).status_code < 500


def test_a_file_that_claims_a_page_of_gigabytes_is_refused_unread(service: Any) -> None:
    body = parquet(of_size(10), compression="none", use_dictionary=False, write_statistics=False)
    page = body.index(b"\x15\x00\x15") + 2  # the first page's header: kind 0, then the size it unpacks to
    changed = body[: page + 1] + bytes([0xFE, 0xFF, 0xFF, 0xFF, 0x0F]) + body[page + 3 :]
    assert "2,147,483,647 bytes" in refusal(service.post(changed, PARQUET), 413)


@KINDS
def test_more_rows_than_bytes_are_refused_beyond_a_million(service: Any, kind: str) -> None:
    table = of_size(1_000_001)
    if kind == ARROW:  # where a value takes four bytes before it is compressed, and thousands as one
        table = pa.table({name: table[name].combine_chunks().dictionary_encode() for name in table.column_names})
    body = parquet(table) if kind == PARQUET else stream(table, compression="zstd")
    assert len(body) < MEBIBYTE
    assert "1,000,001 rows" in refusal(service.post(body, kind), 413)


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_batch_that_unpacks_to_more_than_a_body_may_have_is_refused(start: Any, compression: str) -> None:
    service = start(max_body_bytes=MEBIBYTE)
    body = stream(of_size(200_000), compression=compression)
    assert len(body) < MEBIBYTE
    assert "write smaller batches" in refusal(service.post(body, ARROW), 413)


def test_a_dictionary_that_unpacks_to_more_than_a_body_may_have_is_refused(start: Any) -> None:
    service = start(max_body_bytes=MEBIBYTE)
    kinds = pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), pa.array(["x" * 2 * MEBIBYTE]))
    assert "unpacks to" in refusal(service.post(stream(of_size(1, kind=kinds), compression="zstd"), ARROW), 413)


def test_text_by_differences_is_refused(service: Any) -> None:
    body = parquet(of_size(10), use_dictionary=False, column_encoding={"kind": "DELTA_LENGTH_BYTE_ARRAY"})
    assert "'kind'" in refusal(service.post(body, PARQUET), 422)


def test_columns_nested_deeply_are_refused(service: Any) -> None:
    value: Any = 1
    for _ in range(40):
        value = {"a": value}
    assert "nested" in refusal(service.post(parquet(pa.table({"size": [value]})), PARQUET), 422)


def test_a_directory_that_is_larger_than_the_table_is_refused(start: Any) -> None:
    service = start(max_body_bytes=64 * 1024)
    assert "fewer row groups" in refusal(service.post(parquet(of_size(100), row_group_size=1), PARQUET), 413)


def test_an_encrypted_file_is_refused(service: Any) -> None:
    assert "encrypted" in refusal(service.post(good(PARQUET)[:-4] + b"PARE", PARQUET), 422)


def test_a_dictionary_that_grows_is_refused(service: Any) -> None:
    out = io.BytesIO()
    batches = [
        pa.record_batch(
            {
                "size": [0.5],
                "kind": pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), pa.array(names)),
                "flag": [True],
            }
        )
        for names in (["one"], ["one", "two"])
    ]
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    with pa.ipc.new_stream(out, batches[0].schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    assert "each whole" in refusal(service.post(out.getvalue(), ARROW), 422)


def test_views_that_name_one_text_over_and_over_are_refused(start: Any) -> None:
    service = start(max_body_bytes=MEBIBYTE)
    text, rows = b"x" * MEBIBYTE, 1000
    views = struct.pack("<i4sii", len(text), text[:4], 0, 0) * rows
    kinds = pa.Array.from_buffers(pa.string_view(), rows, [None, pa.py_buffer(views), pa.py_buffer(text)])
    assert "larger than the table" in refusal(service.post(stream(of_size(rows, kind=kinds)), ARROW), 400)


def test_a_stream_from_before_arrow_1_is_refused(service: Any) -> None:
    body = stream(of_size(1), metadata_version=pa.ipc.MetadataVersion.V4)
    assert "before Arrow 1.0" in refusal(service.post(body, ARROW), 422)


def test_a_stream_with_a_schema_that_is_larger_than_a_table_is_refused(start: Any) -> None:
    service = start(max_body_bytes=64 * 1024)
    body = stream(pa.table({f"x{number}": [1] for number in range(1000)}))
    assert "is described in" in refusal(service.post(body, ARROW), 413)


def test_a_place_beyond_its_dictionary_is_refused(service: Any) -> None:
    kinds = pa.DictionaryArray.from_arrays(pa.array([1_000_000], pa.int32()), pa.array(["one"]), safe=False)
    assert refusal(service.post(stream(of_size(1, kind=kinds)), ARROW), 400)


@KINDS
def test_text_that_is_not_utf_8_is_refused(service: Any, kind: str) -> None:
    text = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(struct.pack("<ii", 0, 1)), pa.py_buffer(b"\xff")])
    table = of_size(1, kind=text)
    assert refusal(service.post(parquet(table) if kind == PARQUET else stream(table), kind), 400)


def test_extension_types_are_refused(service: Any) -> None:
    sizes = pa.ExtensionArray.from_storage(pa.json_(), pa.array(["1"]))
    assert refusal(service.post(stream(of_size(1, kind=sizes)), ARROW), 422)


def test_one_long_text_in_every_row_takes_no_memory_for_each(service: Any) -> None:
    rows = 50_000
    text = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), pa.array(["x" * 4 * MEBIBYTE]))
    body = parquet(of_size(rows, kind=text), compression="zstd", dictionary_pagesize_limit=2**30)
    service.post(good(PARQUET), PARQUET)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert service.post(body, PARQUET).status_code == 200
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
