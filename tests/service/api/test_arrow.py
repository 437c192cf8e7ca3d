"""POST /predict with a table as Parquet or as an Arrow IPC stream."""

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


@KINDS
def test_a_table_is_answered_in_the_form_that_it_came_in(service: Any, kind: str) -> None:
    table = pa.Table.from_pylist([ROW, ROW | {"size": 9999.0, "a b": None, "kind": "three"}])
    first, second = unpack(service.post(pack(table, kind), kind), kind)
    alone = service.predict(ROW).json()
    probabilities = {f"probability_{name}": value for name, value in alone["probabilities"][0].items()}
    assert first == {"prediction": alone["predictions"][0], **probabilities, "warnings": None}
    assert second["warnings"] == "size out_of_range; kind unseen_category"
