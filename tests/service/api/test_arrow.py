"""POST /predict with a table as Parquet or as an Arrow IPC stream."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.service.arrow_bodies import ARROW, KINDS, PARQUET, ROW, pack, unpack

Start = Callable[..., Any]
DAY = datetime.fromisoformat("2020-05-05")
SCHEMA = pa.schema(
    {
        "size": pa.float64(),
        "a b": pa.int64(),
        "shop": pa.string(),
        "kind": pa.dictionary(pa.int32(), pa.string()),
        "flag": pa.bool_(),
        "when": pa.timestamp("us"),
    }
)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
VALUES = {
    "size": st.floats(-3.4e38, 3.4e38),
    "a b": st.none() | st.integers(-(2**63), 2**63 - 1),
    "shop": st.none() | st.sampled_from(["é", "x|y", "<script>"]) | TEXT,
    "kind": st.sampled_from(["one", "two"]) | TEXT,
    "flag": st.booleans(),
    "when": st.none() | st.datetimes(),
}
"""What CSV can tell from a missing value."""


@KINDS
def test_a_table_is_answered_in_the_form_that_it_came_in(service: Any, kind: str) -> None:
    table = pa.Table.from_pylist([ROW, ROW | {"size": 9999.0, "a b": None, "kind": "three"}])
    first, second = unpack(service.post(pack(table, kind), kind), kind)
    alone = service.predict(ROW).json()
    probabilities = {f"probability_{name}": value for name, value in alone["probabilities"][0].items()}
    assert first == {"prediction": alone["predictions"][0], **probabilities, "warnings": None}
    assert second["warnings"] == "size out_of_range; kind unseen_category"


@KINDS
@pytest.mark.parametrize("target", ["boolean", "multiclass", "regression"])
def test_predictions_have_the_type_of_the_label(start: Start, kind: str, target: str) -> None:
    service = start(target)
    (row,) = unpack(service.post(pack(pa.Table.from_pylist([ROW]), kind), kind), kind)
    assert row["prediction"] == service.predict(ROW).json()["predictions"][0]
    assert type(row["prediction"]) is {"boolean": bool, "multiclass": int, "regression": float}[target]


@KINDS
def test_predictions_are_named_where_that_is_asked_for(service: Any, kind: str) -> None:
    headers = {**service.headers, "Content-Type": kind}
    body = pack(pa.Table.from_pylist([ROW, ROW]), kind)
    rows = unpack(service.client.post("/predict?ids=true", content=body, headers=headers), kind)
    assert len({row["prediction_id"] for row in rows}) == 2


@KINDS
def test_a_long_table_is_answered_whole_by_one_version_and_counted(service: Any, kind: str) -> None:
    before = service.metric("predictions_total")
    table = pa.table({"size": np.linspace(-1, 1, 70_000), "kind": ["one"] * 70_000, "flag": [True] * 70_000})
    answer = service.post(pack(table, kind), kind)
    assert answer.headers["x-model-version"] == service.artifact.model.version
    assert len(unpack(answer, kind)) == 70_000
    assert service.metric("predictions_total") == before + 70_000


@KINDS
@pytest.mark.parametrize(
    "columns",
    [
        {"size": pa.array([1], pa.int8())},
        {"size": pa.array([1], pa.uint64())},
        {"size": pa.array([1], pa.float32())},
        {"size": pa.array([Decimal("1.00")])},
        {"size": pa.array([1.0]).dictionary_encode()},
        {"kind": pa.array(["one"], pa.large_string())},
        {"kind": pa.array(["one"], pa.string_view())},
        {"kind": pa.array(["one"]).dictionary_encode()},
        {"when": pa.array([DAY], pa.timestamp("s"))},
        {"when": pa.array([DAY], pa.timestamp("ms"))},
        {"when": pa.array([DAY], pa.timestamp("ns"))},
        {"when": pa.array([datetime(2020, 5, 4, 22, tzinfo=UTC)]).cast(pa.timestamp("us", "UTC")), "shift": True},
        {"when": pa.array([date(2020, 5, 5)], pa.date32())},
        {"when": pa.array([date(2020, 5, 5)], pa.date64())},
        {"when": pa.array(["2020-05-05"]).dictionary_encode()},
        {"shop": pa.nulls(1), "empty": True},
        {"a b": pa.array([float("nan")]), "empty": True},
    ],
    ids=lambda columns: " ".join(f"{name} {getattr(each, 'type', each)}" for name, each in columns.items()),
)
def test_a_value_means_the_same_in_each_type_that_holds_it(service: Any, kind: str, columns: dict[str, Any]) -> None:
    shift, empty = columns.get("shift"), columns.get("empty")
    arrays = {name: array for name, array in columns.items() if not isinstance(array, bool)}
    (name,) = arrays
    row = ROW | {"size": 1.0} | ({"when": "2020-05-04T22:00:00Z"} if shift else {}) | ({name: None} if empty else {})
    table = pa.table({key: arrays.get(key, pa.array([value])) for key, value in row.items()})
    (given,) = unpack(service.post(pack(table, kind), kind), kind)
    alone = service.predict(row).json()
    assert given["probability_да"] == alone["probabilities"][0]["да"]
    assert given["warnings"] is None
    assert "warnings" not in alone


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=4))
def test_a_table_gets_the_same_answer_in_all_forms(service: Any, rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist(rows, SCHEMA)
    plain = [row | {"when": row["when"] and row["when"].isoformat()} for row in rows]
    text = io.StringIO(newline="")
    lines = csv.DictWriter(text, SCHEMA.names)
    lines.writeheader()
    lines.writerows(plain)
    answers = [unpack(service.post(pack(table, kind), kind), kind) for kind in (PARQUET, ARROW)]
    from_csv = list(csv.DictReader(io.StringIO(service.post(text.getvalue(), "text/csv").text)))
    from_json = service.post("\n".join(map(json.dumps, plain)), "application/x-ndjson").text.splitlines()
    wanted = [list(json.loads(line)["probabilities"].values()) for line in from_json]
    for answer in (*answers, from_csv):
        assert [[float(row[f"probability_{name}"]) for name in ("да", "нет")] for row in answer] == wanted
        assert [row["prediction"] for row in answer] == [json.loads(line)["prediction"] for line in from_json]
        assert [row["warnings"] or "" for row in answer] == [row["warnings"] for row in from_csv]


@pytest.mark.parametrize("installed", [True, False])
def test_the_description_names_such_tables_where_they_are_taken(
    make_artifact: Any, service: Any, start: Start, monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    if not installed:
        make_artifact()
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        service = start()
    operation = service.client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    for content in (operation["requestBody"]["content"], operation["responses"]["200"]["content"]):
        assert ({PARQUET, ARROW} <= content.keys()) is installed


@pytest.mark.slow
def test_a_service_that_no_such_table_came_to_has_not_imported_pyarrow(service: Any) -> None:
    code = (
        "import os, sys; from service.app import create_app; from service.settings import Settings; "
        "create_app(Settings.from_environment(os.environ)); "
        "print(any(name.startswith(('pyarrow', 'service.arrow')) for name in sys.modules))"
    )
    more = {"SECRET_KEY": "x" * 32, "MODEL_PATH": str(service.artifact.root / "models/model.onnx")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | more, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


@KINDS
def test_a_column_that_may_be_missing_may_be_left_out_and_columns_stand_in_any_order(service: Any, kind: str) -> None:
    short = pa.table({"flag": [True], "size": [1.0], "kind": ["one"]})
    full = pa.table(
        {"size": [1.0], "a b": pa.nulls(1), "shop": pa.nulls(1), "kind": ["one"], "flag": [True], "when": pa.nulls(1)}
    )
    assert unpack(service.post(pack(short, kind), kind), kind) == unpack(service.post(pack(full, kind), kind), kind)


@KINDS
def test_a_table_may_come_in_any_number_of_packets(service: Any, kind: str) -> None:
    body = pack(pa.Table.from_pylist([ROW] * 3), kind)
    headers = {**service.headers, "Content-Type": kind}
    pieces = service.client.post(
        "/predict", content=(body[at : at + 7] for at in range(0, len(body), 7)), headers=headers
    )
    assert unpack(pieces, kind) == unpack(service.post(body, kind), kind)


@KINDS
def test_whole_numbers_are_names_of_categories_as_csv_spells_them(service: Any, kind: str) -> None:
    """They are unseen here, as their text is; a model trained on such names knows them."""
    rows = [ROW | {"kind": 1}, ROW | {"kind": 2}]
    (first, second) = unpack(service.post(pack(pa.Table.from_pylist(rows), kind), kind), kind)
    assert first["warnings"] == second["warnings"] == "kind unseen_category"


@KINDS
def test_fractions_of_microseconds_are_cut_off_as_in_text(service: Any, kind: str) -> None:
    ticks = pa.array([-1, 1_588_636_800_000_000_999], pa.timestamp("ns"))
    table = pa.Table.from_pylist([ROW, ROW]).set_column(5, "when", ticks)
    texts = [ROW | {"when": "1969-12-31T23:59:59.999999999"}, ROW | {"when": "2020-05-05T00:00:00.000000999"}]
    from_json = service.predict(*texts).json()["probabilities"]
    rows = unpack(service.post(pack(table, kind), kind), kind)
    assert [row["probability_да"] for row in rows] == [row["да"] for row in from_json]
    assert rows[0]["warnings"] == "when out_of_range"
