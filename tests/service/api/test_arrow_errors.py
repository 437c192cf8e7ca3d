"""What is wrong with a table as Parquet or as an Arrow IPC stream, in the caller's words."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.service.arrow_bodies import KINDS, PARQUET, ROW, pack

Start = Callable[..., Any]


@KINDS
@pytest.mark.parametrize(
    ("values", "field", "got"),
    [
        ({"size": None}, "size", "null"),
        ({"size": float("inf")}, "size", "Infinity"),
        ({"size": 1e39}, "size", "1e+39"),
        ({"kind": None}, "kind", "null"),
        ({"flag": None}, "flag", "null"),
        ({"when": "tomorrow"}, "when", '"tomorrow"'),
    ],
)
def test_a_wrong_value_is_named_by_row_and_column(
    service: Any, kind: str, values: dict[str, Any], field: str, got: str
) -> None:
    table = pa.Table.from_pylist([ROW] * 5000 + [ROW | values, ROW])
    problem = service.post(pack(table, kind), kind).json()
    wanted = problem["errors"][0]["expected"]
    assert problem["errors"] == [{"instance": 5000, "field": field, "expected": wanted, "got": got}]


@KINDS
def test_a_date_that_no_calendar_has_is_wrong(service: Any, kind: str) -> None:
    table = pa.Table.from_pylist([ROW]).set_column(5, "when", pa.array([2**60], pa.timestamp("us")))
    (error,) = service.post(pack(table, kind), kind).json()["errors"]
    assert (error["instance"], error["field"]) == (0, "when")


@KINDS
@pytest.mark.parametrize(
    ("names", "fields"),
    [
        (["size", "kind", "flag", "y"], ["y"]),
        (["kind", "flag"], ["size"]),
        (["size", "kind", "flag", "size"], ["size"]),
    ],
)
def test_names_that_are_not_the_contract_s_are_refused(
    service: Any, kind: str, names: list[str], fields: list[str]
) -> None:
    values = {"size": 1.0, "kind": "one", "flag": True, "y": 1}
    table = pa.Table.from_arrays([pa.array([values[name]]) for name in names], names)
    problem = service.post(pack(table, kind), kind).json()
    assert (problem["status"], [error["field"] for error in problem["errors"]]) == (422, fields)


@KINDS
@pytest.mark.parametrize(
    ("name", "value"),
    [("size", "1"), ("size", True), ("kind", 1.5), ("flag", 1), ("when", 1), ("shop", ["a"]), ("shop", b"a")],
)
def test_a_column_of_a_type_that_cannot_be_the_feature_s_is_refused_once(
    service: Any, kind: str, name: str, value: Any
) -> None:
    table = pa.Table.from_pylist([ROW | {name: value}] * 3)
    (error,) = service.post(pack(table, kind), kind).json()["errors"]
    assert (error["field"], error["got"][:12]) == (name, "a column of ")


@KINDS
def test_twenty_errors_are_named(service: Any, kind: str) -> None:
    problem = service.post(pack(pa.Table.from_pylist([ROW | {"when": "x"}] * 30), kind), kind).json()
    assert (len(problem["errors"]), problem["error_count"]) == (20, 30)


@KINDS
def test_a_strict_feature_refuses_what_training_did_not_know(start: Start, kind: str) -> None:
    service = start(strict=("kind",))
    (error,) = service.post(pack(pa.Table.from_pylist([ROW, ROW | {"kind": "three"}]), kind), kind).json()["errors"]
    assert error == {"instance": 1, "field": "kind", "expected": "one of one, two", "got": '"three"'}


@KINDS
def test_a_table_without_rows_is_refused(service: Any, kind: str) -> None:
    assert service.post(pack(pa.Table.from_pylist([ROW]).slice(0, 0), kind), kind).status_code == 422
    assert service.post(b"", kind).status_code == 422


def test_without_pyarrow_such_tables_are_refused_and_the_extra_is_named(
    make_artifact: Any, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_artifact()  # pandas, which makes it, needs pyarrow
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    bare = start()
    answer = bare.post(b"PAR1", PARQUET)
    taken = "application/json, text/csv, application/x-ndjson"
    assert (answer.status_code, answer.headers["accept-post"]) == (415, taken)
    assert answer.json()["detail"] == (
        f"Content-Type must be one of: {taken}; {PARQUET} needs what requirements/arrow.txt installs"
    )
    assert bare.post(b"", "text/plain").json()["detail"] == f"Content-Type must be one of: {taken}"


@KINDS
def test_a_long_text_is_shown_cut_short(start: Start, kind: str) -> None:
    service = start(strict=("kind",))
    body = pack(pa.Table.from_pylist([ROW | {"kind": "x" * 100_000}]), kind)
    (error,) = service.post(body, kind).json()["errors"]
    assert len(error["got"]) < 100


@KINDS
def test_a_disk_without_room_is_told_of(start: Start, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = start()
    full = lambda *_, **__: Path("/dev/full").open("w+b")  # noqa: E731, SIM115  # closed by who asked for it
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    assert service.post(pack(pa.Table.from_pylist([ROW]), kind), kind).status_code == 507
