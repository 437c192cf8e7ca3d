"""The fuzzer's oracle can find something."""

import json

import pytest

from tests.fuzz import oracle
from tests.fuzz.oracle import Finding

PROBLEM = {"type": "about:blank", "title": "Wrong", "status": 422, "detail": "why"}


def test_good_answers_and_problems_pass() -> None:
    oracle.check_answer(200, "application/json", b"{}")
    oracle.check_answer(422, oracle.PROBLEM, json.dumps(PROBLEM).encode())
    oracle.check_raw(b"HTTP/1.1 400 Bad Request\r\n")
    oracle.check_raw(b"")
    oracle.check_log('{"level":"info"}\n', ["secret"])
    oracle.check_same(b'{"\\u0061": 1e0}', b"[1]", lambda body: b"[%d]" % json.loads(body)["a"])


@pytest.mark.parametrize(
    ("status", "media", "problem"),
    [
        (500, oracle.PROBLEM, PROBLEM | {"status": 500}),
        (422, "text/html", PROBLEM),
        (400, oracle.PROBLEM, PROBLEM),
        (422, oracle.PROBLEM, {"status": 422}),
    ],
)
def test_any_other_answer_is_a_finding(status: int, media: str, problem: object) -> None:
    with pytest.raises(Finding):
        oracle.check_answer(status, media, json.dumps(problem).encode())


@pytest.mark.parametrize("answer", [b"HTTP/1.1 500 Internal Server Error\r\n", b"HTTP/1.0 200 OK", b"garbage"])
def test_a_bad_status_line_is_a_finding(answer: bytes) -> None:
    with pytest.raises(Finding):
        oracle.check_raw(answer)


@pytest.mark.parametrize("body", [b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":1e400}', b"{", b"\xff", b'{"a": 1}'])
def test_an_answer_to_no_json_or_to_another_meaning_is_a_finding(body: bytes) -> None:
    with pytest.raises(Finding):
        oracle.check_same(body, b"{}", lambda _: b'{"other": 1}')


@pytest.mark.parametrize("line", ['{"event": "Traceback"}', '{"level":"error"}', "no json", '{"a": "secret"}'])
def test_a_bad_line_of_the_log_is_a_finding(line: str) -> None:
    with pytest.raises((Finding, ValueError)):
        oracle.check_log(line, ["secret"])
