"""POST /predict with a table."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pandas as pd
import pytest

Start = Callable[..., Any]
NAMES = "size,a b,shop,kind,flag,when"
ROW = "0.5,1,é,one,true,2020-05-05"


def csv(*rows: str, names: str = NAMES) -> str:
    return "\n".join([names, *rows, ""])


def test_a_table_in_csv_is_answered_in_csv(service: Any) -> None:
    answer = service.post(csv(ROW, "9999,,,three,0,"), "text/csv")
    head, first, second = answer.text.splitlines()
    assert answer.headers["content-type"] == "text/csv"
    assert answer.headers["x-model-version"] == service.artifact.model.version
    assert head == "prediction,probability_да,probability_нет,warnings"
    assert first.startswith("да,") != first.startswith("нет,")
    assert first.endswith(",")
    assert second.endswith(",size out_of_range; kind unseen_category")


def test_a_table_in_ndjson_is_answered_in_ndjson(service: Any) -> None:
    rows = [service.example, service.changed(kind="three")]
    answer = service.post("\n".join(map(json.dumps, rows)) + "\n\n", "application/x-ndjson")
    first, second = map(json.loads, answer.text.splitlines())
    alone = service.predict(service.example).json()
    assert first == {"prediction": alone["predictions"][0], "probabilities": alone["probabilities"][0]}
    assert second["warnings"] == [{"field": "kind", "kind": "unseen_category"}]


@pytest.mark.parametrize("target", ["boolean", "multiclass", "regression"])
def test_other_tasks_are_answered_in_csv_too(start: Start, target: str) -> None:
    service = start(target)
    head, row = service.post(csv(ROW), "text/csv").text.splitlines()
    alone = service.predict(
        {**service.example, "size": 0.5, "a b": 1, "shop": "é", "kind": "one", "flag": True, "when": "2020-05-05"}
    )
    names = {"boolean": ["false", "true"], "multiclass": ["1", "2", "3"], "regression": []}[target]
    assert head.split(",") == ["prediction", *(f"probability_{name}" for name in names), "warnings"]
    assert row.split(",")[0] == str(alone.json()["predictions"][0]).lower()


def test_rows_may_be_split_anywhere_between_packets(service: Any) -> None:
    table = csv(*[ROW, '1,2,"x|y","two",false,', '3,4,"line\nbreak",one,1,2020-05-05']).encode()
    whole = service.post(table, "text/csv").text
    pieces = service.client.post(
        "/predict",
        content=(table[at : at + 1] for at in range(len(table))),
        headers={**service.headers, "Content-Type": "text/csv"},
    )
    assert pieces.text == whole
    assert len(whole.splitlines()) == 4


def test_a_large_table_is_scored_in_blocks_with_text_that_has_line_breaks(service: Any) -> None:
    rows = [f'{number},,"a\n{number}",one,true,' for number in range(40_000)]
    table = csv(*rows).encode()
    inside = table.index(b'"a\n', 300_000) + 3
    answer = service.client.post(
        "/predict",
        content=iter([table[:inside], table[inside:]]),
        headers={**service.headers, "Content-Type": "text/csv"},
    )
    assert len(answer.text.splitlines()) == 40_001


def test_columns_stand_in_any_order_and_those_that_may_be_missing_may_be_left_out(service: Any) -> None:
    usual = service.post(csv("1,,,one,true,"), "text/csv").text
    assert service.post(csv("true,1,one", names="flag,size,kind"), "text/csv").text == usual


@pytest.mark.parametrize(
    "spelled",
    ["\ufeff" + csv(ROW, ROW).replace("\n", "\r\n"), "\r\n\n" + csv(ROW, ROW), "\ufeff" + csv(ROW, ROW)],
    ids=["Windows", "empty lines first", "byte order mark"],
)
def test_another_spelling_of_a_table_is_the_same_table(service: Any, spelled: str) -> None:
    assert service.post(spelled, "text/csv").text == service.post(csv(ROW, ROW), "text/csv").text


@pytest.mark.parametrize(
    ("names", "fields"),
    [
        ("size,kind,flag,colour", ["colour"]),
        ("kind,flag", ["size"]),
        ("size,kind,flag,size", ["size"]),
        ("a", ["a", "size", "kind", "flag"]),
    ],
)
def test_names_that_are_not_the_contract_s_are_refused(service: Any, names: str, fields: list[str]) -> None:
    problem = service.post(csv("1,2,3", names=names), "text/csv").json()
    assert (problem["status"], [error["field"] for error in problem["errors"]]) == (422, fields)


@pytest.mark.parametrize(
    ("row", "field", "got"),
    [
        ("x,1,é,one,true,", "size", '"x"'),
        (",1,é,one,true,", "size", '""'),
        ("nan,1,é,one,true,", "size", '"nan"'),
        ("1e400,1,é,one,true,", "size", '"1e400"'),
        ("1e39,1,é,one,true,", "size", '"1e39"'),
        ("1_000,1,é,one,true,", "size", '"1_000"'),
        ("١٢,1,é,one,true,", "size", '"١٢"'),
        ("1 2,1,é,one,true,", "size", '"1 2"'),
        ("1,1,é,,true,", "kind", '""'),
        ("1,1,é,one,yes,", "flag", '"yes"'),
        ("1,1,é,one,,", "flag", '""'),
        ("1,1,é,one,true,tomorrow", "when", '"tomorrow"'),
    ],
)
def test_a_wrong_cell_is_named_by_row_and_column(service: Any, row: str, field: str, got: str) -> None:
    problem = service.post(csv(ROW, ROW, row, ROW), "text/csv").json()
    assert problem["errors"] == [
        {"instance": 2, "field": field, "expected": problem["errors"][0]["expected"], "got": got}
    ]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_another_separator_is_reported(service: Any, separator: str) -> None:
    problem = service.post(csv(ROW).replace(",", separator), "text/csv").json()
    assert (problem["status"], problem["title"]) == (422, "Not separated by commas")
    assert repr(separator) in problem["detail"]


def test_a_wrong_row_far_down_leaves_nothing_half_answered(service: Any) -> None:
    answer = service.post(csv(*[ROW] * 30_000, "x,1,é,one,true,"), "text/csv")
    assert (answer.status_code, answer.json()["errors"][0]["instance"]) == (422, 30_000)


@pytest.mark.parametrize("media", ["text/csv", "application/x-ndjson"])
def test_errors_far_apart_are_named_by_their_rows(service: Any, media: str) -> None:
    rows = [service.example] * 20_000
    rows[5] = rows[15_000] = service.changed(kind=None)
    table = pd.DataFrame(rows)
    body = {
        "text/csv": lambda: table.to_csv(index=False).encode(),
        "application/x-ndjson": lambda: "\n".join(map(json.dumps, rows)).encode(),
    }[media]()
    pieces = (body[at : at + 65_536] for at in range(0, len(body), 65_536))

    problem = service.post(pieces, media).json()

    assert [(error["instance"], error["field"]) for error in problem["errors"]] == [(5, "kind"), (15_000, "kind")]


@pytest.mark.parametrize("bad", [b"\xff", b'"a"b'])
def test_what_is_no_csv_is_named_by_its_row(service: Any, bad: bytes) -> None:
    table = csv(*[ROW] * 20_000).encode() + bad + b"\n"
    problem = service.post((table[at : at + 65_536] for at in range(0, len(table), 65_536)), "text/csv").json()
    assert (problem["status"], re.findall(r"near row (\d+)", problem["detail"])) == (400, ["20000"])


def test_a_cell_may_be_as_long_as_a_line(service: Any) -> None:
    answer = service.post(csv(f"1,1,{'é' * 200_000},one,true,"), "text/csv")
    assert answer.text.splitlines()[1].endswith("shop unseen_category")


@pytest.mark.parametrize("more", ["", '{"size": "wrong"}\n'])
def test_two_objects_in_a_line_are_refused(service: Any, more: str) -> None:
    line = json.dumps(service.example)
    problem = service.post(f"{line}\n{line} {line}\n{more}", "application/x-ndjson").json()
    assert (problem["status"], problem["title"]) == (400, "Not JSON")
    assert problem["detail"].startswith("Row 1: ")


def test_slow_tables_delay_no_others(service: Any) -> None:
    async def scenario() -> tuple[int, bool]:
        come, headers = asyncio.Event(), service.headers | {"Content-Type": "text/csv"}

        async def slow() -> AsyncIterator[bytes]:
            yield csv(ROW).encode()
            await come.wait()

        async def post(content: Any) -> httpx.Response:
            return await client.post("/predict", content=content, headers=headers)

        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            waiting = [asyncio.create_task(post(slow())) for _ in range(4)]
            await asyncio.sleep(0.1)
            status = (await post(csv(ROW).encode())).status_code
            come.set()
            return status, all([(await each).status_code == 200 for each in waiting])

    assert service.client.call(scenario) == (200, True)


def test_reading_ends_once_twenty_errors_are_known(service: Any) -> None:
    read = 0

    def table() -> Iterator[bytes]:
        nonlocal read
        yield csv().encode()
        for _ in range(100):
            read += 1
            yield b"x,1,\xc3\xa9,one,true,\n" * 5000

    headers = {**service.headers, "Content-Type": "text/csv"}
    answer = service.client.post("/predict", content=table(), headers=headers)
    assert len(answer.json()["errors"]) == 20
    assert read < 10


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (csv("1,1,é,one,true,").encode("latin-1"), "text/csv", 400),
        ("", "text/csv", 422),
        (NAMES, "text/csv", 422),
        (csv("1,2"), "text/csv", 422),
        (csv('"1'), "text/csv", 400),
        (csv("1\0,1,é,one,true,"), "text/csv", 422),
        ("\n\n", "application/x-ndjson", 422),
        ("{", "application/x-ndjson", 400),
        ("[]", "application/x-ndjson", 422),
        ('{"size": 1, "size": 2}', "application/x-ndjson", 422),
    ],
)
def test_what_is_no_table_is_refused(service: Any, body: bytes | str, kind: str, status: int) -> None:
    assert service.post(body, kind).status_code == status


def test_a_row_without_an_end_is_refused_before_it_fills_the_memory(start: Start) -> None:
    service = start(max_body_bytes=32 * 1024)
    answer = service.client.post(
        "/predict",
        content=(b'"' + b"x" * 100_000 for _ in range(1000)),
        headers={**service.headers, "Content-Type": "text/csv"},
    )
    assert answer.status_code == 413


@pytest.mark.parametrize("kind", ["text/csv", "application/x-ndjson"])
def test_a_strict_feature_refuses_what_training_did_not_know(start: Start, kind: str) -> None:
    service = start(strict=("kind",))
    rows = [service.example, service.changed(kind="three")]
    body = csv(ROW, "1,1,é,three,true,") if kind == "text/csv" else "\n".join(map(json.dumps, rows))
    (error,) = service.post(body, kind).json()["errors"]
    assert error == {"instance": 1, "field": "kind", "expected": "one of one, two", "got": '"three"'}
