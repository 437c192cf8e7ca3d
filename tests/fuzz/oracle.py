"""Checks that every answer must pass, whatever the request."""

import json
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, Final, NoReturn

PROBLEM: Final = "application/problem+json"
STATUSES: Final = {400, 401, 403, 404, 405, 406, 408, 409, 411, 413, 414, 415, 422, 426, 429, 431, 503}
"""Allowed statuses for a wrong request; 503 if too many logins or tables run at once."""
NO_HTTP: Final = b"Invalid HTTP request received."
"""uvicorn's answer to control characters in a header, which nginx forwards."""
UNKNOWN_TO_NGINX: Final = {501, 505}
"""A transfer coding, a version of HTTP."""
RESTART_MARKS: Final = ("Traceback", '"level":"error"', '"level":"critical"', "died")


class Finding(Exception):  # noqa: N818  # a find, not an error
    """Something that must not happen."""


def check_answer(status: int, content_type: str, body: bytes) -> None:
    """Raise Finding unless an answer is valid, or an error in the documented form."""
    if 200 <= status < 300 or (status, body) == (400, NO_HTTP):
        return
    if status not in STATUSES:
        raise Finding(f"status {status}: {body[:300]!r}")
    if content_type != PROBLEM:
        raise Finding(f"status {status} as {content_type}: {body[:300]!r}")
    problem = json.loads(body)
    if problem.get("status") != status or not {"type", "title", "detail"} <= set(problem):
        raise Finding(f"a problem that says too little: {body[:300]!r}")


def check_raw(answer: bytes) -> None:
    """Raise Finding if the bytes on a connection don't begin with a valid status line."""
    if not answer or answer.startswith(b'{"type":"about:blank",'):  # to a request of HTTP/0.9, which has no head
        return
    if not answer.startswith(b"HTTP/1.1 "):
        raise Finding(f"no HTTP: {answer[:100]!r}")
    status = int(answer[9:12])
    if status >= 500 and status not in STATUSES | UNKNOWN_TO_NGINX:
        raise Finding(f"status {status}: {answer[:500]!r}")


def read_strictly(body: bytes) -> Any:
    """Parse JSON as RFC 8259 defines it, with unique names and finite numbers. Raises ValueError."""
    return json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite)


def check_same(body: bytes, answer: bytes, ask: Callable[[bytes], bytes]) -> None:
    """Raise Finding unless an accepted JSON body means the same to another reader."""
    try:
        understood = read_strictly(body)
    except (ValueError, RecursionError) as error:
        raise Finding(f"answered, but {error}") from None
    again = ask(json.dumps(understood).encode())
    if json.loads(again) != json.loads(answer):
        raise Finding(f"another answer than for what it means: {answer[:200]!r}, {again[:200]!r}")


def check_log(text: str, secrets: Iterable[str]) -> None:
    """Raise Finding for a line about a failure, with a secret, or not in JSON."""
    for line in text.splitlines():
        if any(mark in line for mark in RESTART_MARKS):
            raise Finding(f"the log tells of a failure: {line[:500]}")
        if any(secret in line for secret in secrets):
            raise Finding("the log tells a secret")
        if not isinstance(json.loads(line), dict):
            raise Finding(f"a line of the log is no object: {line[:200]}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text[:20]} is beyond every number")
    return number
