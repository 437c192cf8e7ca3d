"""The fuzzer's judgement of answers: it must be able to find something."""

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


@pytest.mark.parametrize(
    ("status", "media", "problem"),
    [
        (500, oracle.PROBLEM, PROBLEM | {"status": 500}),
        (418, oracle.PROBLEM, PROBLEM | {"status": 418}),
        (422, "text/html", PROBLEM),
        (400, oracle.PROBLEM, PROBLEM),
        (422, oracle.PROBLEM, {"status": 422}),
    ],
)
def test_any_other_answer_is_a_finding(status: int, media: str, problem: object) -> None:
    with pytest.raises(Finding):
        oracle.check_answer(status, media, json.dumps(problem).encode())


@pytest.mark.parametrize("answer", [b"HTTP/1.1 500 Internal Server Error\r\n", b"HTTP/1.0 200 OK", b"garbage"])
def test_what_is_no_good_status_line_is_a_finding(answer: bytes) -> None:
    with pytest.raises(Finding):
        oracle.check_raw(answer)


@pytest.mark.parametrize(
    "body", [b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":1e400}', b'{"a":01}', b"{", b"\xff", b"[" * 9999]
)
def test_an_answer_to_what_is_no_json_is_a_finding(body: bytes) -> None:
    with pytest.raises(Finding, match="answered, but"):
        oracle.check_same(body, b"{}", lambda _: b"{}")


def test_another_answer_than_for_the_same_meaning_is_a_finding() -> None:
    oracle.check_same(b'{"\\u0061": 1e0}', b"[1]", lambda body: b"[%d]" % json.loads(body)["a"])
    with pytest.raises(Finding, match="another answer"):
        oracle.check_same(b'{"a": 1}', b"[2]", lambda body: b"[%d]" % json.loads(body)["a"])


@pytest.mark.parametrize("line", ['{"event": "Traceback"}', '{"level":"error"}', "no json", "7", '{"a": "secret"}'])
def test_a_line_of_the_log_that_must_not_be_is_a_finding(line: str) -> None:
    oracle.check_log('{"level":"info"}\n', ["secret"])
    with pytest.raises((Finding, ValueError)):
        oracle.check_log(line, ["secret"])
