"""Tables as Parquet and as Arrow IPC streams, and the answers to them."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PARQUET = "application/vnd.apache.parquet"
ARROW = "application/vnd.apache.arrow.stream"
KINDS = pytest.mark.parametrize("kind", [PARQUET, ARROW])
ROW = {"size": 0.5, "a b": 1.0, "shop": "é", "kind": "one", "flag": True, "when": "2020-05-05"}


def pack(table: pa.Table, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    if kind == PARQUET:
        pq.write_table(table, out, **options)
    else:
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table, **options)
    return out.getvalue()


def unpack(answer: Any, kind: str) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == kind
    read = pq.read_table if kind == PARQUET else lambda content: pa.ipc.open_stream(content).read_all()
    rows: list[dict[str, Any]] = read(io.BytesIO(answer.content)).to_pylist()
    return rows
