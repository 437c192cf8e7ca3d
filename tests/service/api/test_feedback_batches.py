"""POST /feedback with many outcomes: all are stored or none, and the response names every wrong entry."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from service.threads import Threads

Start = Callable[..., Any]
Entries = list[dict[str, Any]]
NDJSON = "application/x-ndjson"


def _entries(service: Any, number: int, actual: Any = "да") -> Entries:
    """Predict rows and return feedback on them."""
    content = json.dumps({"instances": [service.example] * number})
    headers = {**service.headers, "Content-Type": "application/json"}
    answer = service.client.post("/predict?ids=true", content=content, headers=headers).json()
    return [{"prediction_id": each, "actual": actual} for each in answer["prediction_ids"]]


def _tell(service: Any, entries: Any) -> Any:
    return service.client.post("/feedback", json={"feedback": entries}, headers=service.headers)


def _tell_lines(service: Any, text: str) -> Any:
    return service.client.post("/feedback", content=text, headers={**service.headers, "Content-Type": NDJSON})


def _lines(entries: Entries) -> str:
    return "".join(json.dumps(each) + "\n" for each in entries)


def _places(answer: Any) -> list[tuple[int, str]]:
    return [(each["instance"], each["field"]) for each in answer.json()["errors"]]


def test_ten_thousand_outcomes_are_stored_and_counted_in_one_request(start: Start) -> None:
    service = start()
    entries = _entries(service, 10_000)

    assert _tell(service, entries).json() == {"new": 10_000, "known": 0}
    assert service.metric("feedback_rows_total") == 10_000
    assert service.metric("feedback_score_rows_total") == 10_000


def test_a_batch_in_lines_is_one_too(start: Start) -> None:
    service = start()
    entries = _entries(service, 3)

    assert _tell_lines(service, _lines(entries)).json() == {"new": 3, "known": 0}
    assert _tell_lines(service, _lines(entries[:1])).json() == {"new": 0, "known": 1}
    assert service.metric("feedback_rows_total") == 3


def test_a_batch_may_be_sent_again_with_more_entries(start: Start) -> None:
    service = start()
    entries = _entries(service, 5)
    _tell(service, entries[:3])

    assert _tell(service, [*entries, entries[0]]).json() == {"new": 2, "known": 4}
    assert service.metric("feedback_rows_total") == 5


def test_every_wrong_entry_is_named_and_nothing_is_stored(start: Start) -> None:
    service = start()
    entries = _entries(service, 40)
    for each in entries[:30]:
        each["actual"] = "maybe"
    entries[35]["prediction_id"] = "x"

    answer = _tell(service, entries)

    assert answer.status_code == 422
    assert _places(answer) == [*((place, "actual") for place in range(30)), (35, "prediction_id")]
    assert service.metric("feedback_rows_total") == 0
    assert _tell(service, entries[30:35]).json() == {"new": 5, "known": 0}


def test_ids_that_are_too_old_are_named_by_their_entries(start: Start) -> None:
    service = start(feedback_days=1)
    old = _entries(service, 2)
    ids = service.app.state.prediction_ids
    now = ids._clock()
    ids._clock = lambda: now + 2 * 86_400
    (new,) = ids.make(service.artifact.model.version, [("да", 0.5, False)])

    answer = _tell(service, [{"prediction_id": new, "actual": "да"}, *old])

    assert (answer.status_code, _places(answer)) == (422, [(1, "prediction_id"), (2, "prediction_id")])


def test_contradictions_are_named_and_the_rest_is_not_kept_either(start: Start) -> None:
    service = start()
    entries = _entries(service, 4)
    _tell(service, entries[2:3])
    entries[2]["actual"] = "нет"

    answer = _tell(service, entries)

    assert (answer.status_code, _places(answer)) == (409, [(2, "actual")])
    assert answer.json()["errors"][0]["expected"] == '"да", which is already stored'
    assert service.metric("feedback_rows_total") == 1


@pytest.mark.parametrize(
    ("entry", "field"),
    [({"actual": ...}, "actual"), ({"prediction_id": ...}, "prediction_id"), ({"prediction_id": 1}, "prediction_id"),
     ({"actual": None}, "actual"), ({"actual": {}}, "actual"), ({"z": 1}, "z")],
)  # fmt: skip
def test_an_entry_of_another_form_is_named(service: Any, entry: Any, field: str) -> None:
    good = _entries(service, 3)
    wrong = {name: value for name, value in {**good.pop(), **entry}.items() if value is not ...}

    assert _places(_tell(service, [*good, wrong])) == [(2, field)]
    assert _places(_tell_lines(service, _lines([*good, wrong]))) == [(2, field)]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [('{"feedback": []}', "application/json", 422), ("", NDJSON, 422), ('{"feedback": 1}', "application/json", 422),
     ("[]", "application/json", 422), ('{"feedback": [{}', "application/json", 400), ('{"prediction_id"', NDJSON, 400),
     ('{"feedback": [], "more": 1}', "application/json", 422), ("a,b", "text/csv", 415)],
)  # fmt: skip
def test_a_body_of_another_form_is_refused(service: Any, content: str, kind: str, status: int) -> None:
    headers = {**service.headers, "Content-Type": kind}
    assert service.client.post("/feedback", content=content, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("{good}\n{{broken\n{good}", "Line 2 is not NDJSON: JSON is malformed"),
        ("{good}\n\n{good}\nx\n", "Line 4 is not NDJSON: JSON is malformed"),
        ("{good}\n{{", "Line 2 is not NDJSON: Input data was truncated"),
        ("{good}{good}\n\n", "Line 1 is not NDJSON: JSON is malformed: trailing characters"),
    ],
)
def test_a_broken_line_is_named_and_nothing_is_stored(start: Start, lines: str, expected: str) -> None:
    service = start()
    (good,) = _entries(service, 1)

    answer = _tell_lines(service, lines.format(good=json.dumps(good)))

    assert (answer.status_code, answer.json()["title"]) == (400, "Not NDJSON")
    assert expected in answer.json()["detail"]
    assert service.metric("feedback_rows_total") == 0


def test_more_entries_than_rows_of_a_request_are_refused(start: Start) -> None:
    service = start(max_instances=3)

    assert _tell(service, [*_entries(service, 3), *_entries(service, 1)]).status_code == 413
    assert _tell(service, _entries(service, 3)).json() == {"new": 3, "known": 0}


@pytest.mark.parametrize(("content", "kind"), [(b'{"feedback": [%b{}]}' % (b"{}," * 400_000), "application/json"),
                                               (b"{}\n" * 400_000, NDJSON)], ids=["JSON", "NDJSON"])  # fmt: skip
def test_a_flood_of_empty_entries_is_refused_before_it_is_parsed(start: Start, content: bytes, kind: str) -> None:
    service = start(max_instances=2_000)
    answer = service.client.post("/feedback", content=content, headers={**service.headers, "Content-Type": kind})

    assert (answer.status_code, answer.json()["title"]) == (413, "Too many values")


def test_when_too_many_wait_the_next_gets_429_not_503(start: Start) -> None:
    service = start()
    service.app.state.access.feedback_writer = Threads(count=0, waiting=0)

    answer = _tell(service, _entries(service, 1))

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")
