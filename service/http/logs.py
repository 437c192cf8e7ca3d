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
from collections import deque
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, TextIO

import msgspec
import orjson

from service.http.correlation import current_trace
from service.settings import Settings

_WRITE_EVERY_SECONDS: Final = 0.1
_KEPT: Final = 100_000
"""Lines that wait at most; when whoever reads them stops reading, the oldest are dropped."""
_CONTROL: Final = re.compile(r"[^\x20-\x7e]")


class Answered(msgspec.Struct, omit_defaults=True, gc=False):
    """One request as a JSON line of the access log has it."""

    time: str
    """When it was answered, as `format_time` gives it."""
    level: str
    event: str
    request_id: str
    user: str | None
    method: str
    route: str
    """The route's template, or the path where there is no such route."""
    status: int
    duration_ms: float
    model_version: str | None
    """The model that answered."""
    instances: int
    trace_id: str = ""
    """Empty unless traces are made."""
    span_id: str = ""


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
        self._waiting: deque[bytes] = deque(maxlen=_KEPT)
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
                self._stream.write(b"".join(lines).decode())
                self._stream.flush()


_ENCODER: Final = msgspec.json.Encoder()


def _json_line(request: Answered) -> bytes:
    return _ENCODER.encode(request) + b"\n"


def _text_line(request: Answered) -> bytes:
    clock = datetime.fromisoformat(request.time).astimezone().strftime("%H:%M:%S")
    rows = f" {request.instances} rows" if request.instances else ""
    return (
        f"{clock} {request.status} {request.method} {plain(request.route)} {request.duration_ms:.1f} ms"
        f"{rows} {request.user or '-'} {request.request_id}\n"
    ).encode()


def format_time(seconds: float) -> str:
    """Return seconds since 1970 as logs write them, in UTC to the millisecond."""
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
