"""Logs: one line for each request and each event, as JSON or as text.

A thread writes the lines of requests, many at a time, so that a slow terminal or pipe delays no request. A process
that stops writes all lines; a process that is killed loses those of the last 0.1 s.
"""

import contextlib
import logging
import re
import sys
import threading
from collections import deque
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, TextIO

import msgspec
import orjson

from service.http.tracing import current_trace
from service.settings import Settings

_WRITE_EVERY_SECONDS: Final = 0.1
_MOST_LINES: Final = 100_000
"""How many lines can wait. If the reader stops reading, the oldest lines are dropped."""
_CONTROL: Final = re.compile(r"[^\x20-\x7e]")


class AccessRecord(msgspec.Struct, omit_defaults=True, gc=False):
    """One request; the fields are the members of its JSON line."""

    time: str
    """When the response ended, in the format of `format_time`."""
    level: str
    event: str
    request_id: str
    user: str | None
    method: str
    route: str
    """The route's path template, or the request's path if it matches no route."""
    status: int
    duration_ms: float
    model_version: str | None
    """MD5 of the ONNX file that predicted; None for other requests."""
    instances: int
    trace_id: str = ""
    """Empty if the request isn't traced, like `span_id`."""
    span_id: str = ""
    sample: float | None = None
    """The share of requests like this one that are logged; left out if all are. To estimate totals, divide by it."""


class AccessLog:
    """Formats each line when its request ends; a thread writes the lines.

    If the thread formatted them too, a burst of lines would delay requests, because only one thread runs Python at a
    time.

    Parameters
    ----------
    as_json
        Whether lines are JSON; else they are text.
    """

    def __init__(self, stream: TextIO, *, as_json: bool) -> None:
        self._stream = stream
        self._format = _json_line if as_json else _text_line
        self._waiting: deque[bytes] = deque(maxlen=_MOST_LINES)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="access-log", daemon=True)

    def add(self, request: AccessRecord) -> None:
        """Format a request's line; it is written within 0.1 s."""
        self._waiting.append(self._format(request))

    def start(self) -> None:
        """Start the thread that writes."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and write the lines that still wait."""
        self._stopped.set()
        self._thread.join(timeout=5)

    def _work(self) -> None:
        while not self._stopped.wait(_WRITE_EVERY_SECONDS):
            self._write()
        self._write()

    def _write(self) -> None:
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        with contextlib.suppress(OSError, ValueError):  # the reader has gone or the disk is full
            self._stream.write(b"".join(lines).decode())
            self._stream.flush()


_ENCODER: Final = msgspec.json.Encoder()


def _json_line(request: AccessRecord) -> bytes:
    return _ENCODER.encode(request) + b"\n"


def _text_line(request: AccessRecord) -> bytes:
    clock = datetime.fromisoformat(request.time).astimezone().strftime("%H:%M:%S")
    rows = f" {request.instances} rows" if request.instances else ""
    return (
        f"{clock} {request.status} {request.method} {printable(request.route)} {request.duration_ms:.1f} ms"
        f"{rows} {request.user or '-'} {request.request_id}\n"
    ).encode()


def format_time(seconds: float) -> str:
    """Return seconds since 1970 as UTC in ISO 8601, with milliseconds."""
    whole = int(seconds)
    return f"{_format_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@lru_cache(4)
def _format_second(seconds: int) -> str:
    """Return a whole second as UTC in ISO 8601; cached, because many lines share it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def printable(text: str) -> str:
    """Return the first 200 characters; what isn't printable ASCII is replaced, as it could forge a line."""
    return _CONTROL.sub("?", text[:200])


class JsonFormatter(logging.Formatter):
    """Formats each event as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the JSON object in one line."""
        line: dict[str, Any] = {
            "time": format_time(record.created),
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


def wants_json(settings: Settings) -> bool:
    """Return whether lines are JSON: as LOG_FORMAT says, by default unless stdout is a terminal."""
    return settings.log_format == "json" or (settings.log_format == "auto" and not sys.stdout.isatty())


def configure(settings: Settings) -> None:
    """Write all log lines of the process to stdout."""
    handler = logging.StreamHandler(sys.stdout)
    text = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
    handler.setFormatter(JsonFormatter() if wants_json(settings) else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)
