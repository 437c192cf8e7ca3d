"""Lines of the log, and who names a request."""

import io
import json
import logging

import pytest
from msgspec.structs import replace
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

from service.http.logs import AccessLog, AccessRecord, JsonFormatter, format_time, printable

REQUEST = AccessRecord(
    format_time(0.0), "info", "request", "id", "anna", "POST", "/predict", 200, 1.234, "v" * 32, 1
)  # fmt: skip


def written(*requests: AccessRecord, as_json: bool) -> list[str]:
    stream = io.StringIO()
    log = AccessLog(stream, as_json=as_json)
    log.start()
    for request in requests:
        log.add(request)
    log.stop()
    return stream.getvalue().splitlines()


def test_a_request_is_one_line_for_people() -> None:
    (line,) = written(REQUEST, as_json=False)
    assert line.endswith(" 200 POST /predict 1.2 ms 1 rows anna id")


@pytest.mark.parametrize("as_json", [True, False])
def test_no_path_can_forge_a_line(as_json: bool) -> None:
    assert len(written(replace(REQUEST, route='/\n{"level":"info"}\x1b[31m'), as_json=as_json)) == 1


def test_every_request_is_written_at_the_end() -> None:
    assert len(written(*[REQUEST] * 5000, as_json=True)) == 5000


def test_a_log_that_cannot_be_written_delays_nothing() -> None:
    stream = io.StringIO()
    stream.close()
    log = AccessLog(stream, as_json=True)
    log.start()
    log.add(REQUEST)
    log.stop()


def test_an_event_with_a_traceback_is_one_json_object() -> None:
    error = ZeroDivisionError("division by zero")
    record = logging.LogRecord("service", logging.ERROR, "", 0, "it %s", ("failed",), (type(error), error, None))
    line = JsonFormatter().format(record)
    assert json.loads(line)["event"] == "it failed"
    assert "ZeroDivisionError" in json.loads(line)["traceback"]
    assert "\n" not in line


def test_text_for_terminals_has_no_control_characters() -> None:
    assert printable("a\x1b[31mb\nc") == "a?[31mb?c"


def test_an_event_within_a_request_names_its_trace() -> None:
    record = logging.LogRecord("service", logging.INFO, "", 1, "something happened", (), None)
    span = NonRecordingSpan(SpanContext(int("a" * 32, 16), int("b" * 16, 16), is_remote=False))
    with use_span(span):
        line = json.loads(JsonFormatter().format(record))
    assert (line["trace_id"], line["span_id"]) == ("a" * 32, "b" * 16)
    assert "trace_id" not in json.loads(JsonFormatter().format(record))
