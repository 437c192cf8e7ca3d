"""Logs: one line for each request and each event, JSON for machines or text for people.

A thread writes the lines of requests, many at a time, so that a slow terminal or pipe
delays no request. A process that is killed loses the last tenth of a second; one that ends
writes everything.
"""

import contextlib
import logging
import re
import sys
import threading
import time
from collections import deque
from datetime import UTC, datetime
from functools import lru_cache
from itertools import count
from typing import Any, Final, NamedTuple, TextIO

import orjson

from service.http.correlation import current_trace
from service.settings import Settings

_WRITE_EVERY_SECONDS: Final = 0.1
_KEPT: Final = 100_000
"""Lines that wait at most; when whoever reads them stops reading, the oldest are dropped."""
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)
_CONTROL: Final = re.compile(r"[^\x20-\x7e]")


class Answered(NamedTuple):
    """One request as the access log has it."""

    time: float
    """Seconds since 1970, when it was answered."""
    request_id: str
    user: str
    """Empty if nobody was authenticated."""
    method: str
    route: str
    """The route's template, or the path where there is no such route."""
    status: int
    seconds: float
    version: str
    """The model that answered; empty if none did."""
    instances: int
    trace_id: str = ""
    """Empty unless traces are made."""
    span_id: str = ""


class RequestIds:
    """Ids of requests: the caller's where it is usable, else one of our own."""

    def __init__(self, unique: str) -> None:
        self._unique = unique
        self._numbers = count(1)

    def choose(self, given: bytes | None) -> bytes:
        """Return `given` if it is 1 to 128 plain characters, or a new id."""
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        return b"%s-%x" % (self._unique.encode(), next(self._numbers))


class AccessLog:
    """Formats a line when a request ends, and writes lines in a thread.

    A burst of lines formatted in the thread would hold up requests meanwhile: both run Python.

    Parameters
    ----------
    stream
        Where lines go.
    as_json
        JSON lines, or text.
    """

    def __init__(self, stream: TextIO, *, as_json: bool) -> None:
        self._stream = stream
        self._format = _json_line if as_json else _text_line
        self._waiting: deque[str] = deque(maxlen=_KEPT)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, request: Answered) -> None:
        """Note one request, to be written soon."""
        self._waiting.append(self._format(request))

    def start(self) -> None:
        """Begin to write."""
        if self._thread is None:
            self._stopped.clear()
            self._thread = threading.Thread(target=self._work, name="access-log", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Write what is left and end."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None
        self._write()

    def _work(self) -> None:
        while not self._stopped.wait(_WRITE_EVERY_SECONDS):
            self._write()

    def _write(self) -> None:
        lines = []
        while self._waiting:
            lines.append(self._waiting.popleft())
        if lines:
            with contextlib.suppress(OSError, ValueError):  # the reader has gone, or the disk is full: serve on
                self._stream.write("".join(lines))
                self._stream.flush()


def _json_line(request: Answered) -> str:
    line: dict[str, Any] = {
        "time": _timestamp(request.time),
        "level": "info",
        "event": "request",
        "request_id": request.request_id,
        "user": request.user or None,
        "method": request.method,
        "route": request.route,
        "status": request.status,
        "duration_ms": round(request.seconds * 1000, 3),
        "model_version": request.version or None,
        "instances": request.instances,
    }
    if request.trace_id:
        line |= {"trace_id": request.trace_id, "span_id": request.span_id}
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE).decode()


def _text_line(request: Answered) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(request.time))
    rows = f" {request.instances} rows" if request.instances else ""
    return (
        f"{clock} {request.status} {request.method} {plain(request.route)} {request.seconds * 1000:.1f} ms"
        f"{rows} {request.user or '-'} {request.request_id}\n"
    )


def _timestamp(seconds: float) -> str:
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@lru_cache(4)
def _second(seconds: int) -> str:
    """Return the date and time of a whole second, which many lines share."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def plain(text: str) -> str:
    """Replace what could forge a line or colour a terminal."""
    return _CONTROL.sub("?", text[:200])


class JsonFormatter(logging.Formatter):
    """One JSON object per event."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": _timestamp(record.created),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        trace = current_trace()
        if trace is not None:
            line |= trace._asdict()
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def wants_json(settings: Settings, stream: TextIO) -> bool:
    """Return whether lines to `stream` are JSON."""
    return settings.log_format == "json" or (settings.log_format == "auto" and not stream.isatty())


def configure(settings: Settings) -> None:
    """Send the log of the whole process to stdout; uvicorn's own request lines are left out for ours."""
    handler = logging.StreamHandler(sys.stdout)
    text = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
    handler.setFormatter(JsonFormatter() if wants_json(settings, sys.stdout) else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("alembic").setLevel(logging.WARNING)
