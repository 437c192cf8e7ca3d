"""Spans of requests, as a collector receives them."""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest

from tests.service.collector import Collector, collecting

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
STEPS = ["decode", "infer", "encode"]


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture
def traced(start: Callable[..., Any], collector: Collector) -> Any:
    return make_traced(start, collector)


def make_traced(start: Callable[..., Any], collector: Collector) -> Any:
    """Return an API that sends its spans every 10 ms, to an empty collector."""
    collector.spans.clear()
    with patch.dict(os.environ, {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "10"}):
        return start()


def test_a_prediction_is_a_span_with_its_steps_one_after_another_inside(traced: Any, collector: Collector) -> None:
    assert traced.predict(traced.example).status_code == 200
    span = collector.one("POST /predict")
    steps = collector.steps(span)
    assert list(steps) == STEPS
    times = [time for name in STEPS for time in (steps[name].start, steps[name].end)]
    assert [span.start, *times, span.end] == sorted([span.start, *times, span.end])
    assert {each.trace_id for each in steps.values()} == {span.trace_id}


def test_a_span_is_described_as_the_conventions_for_http_say(traced: Any, collector: Collector) -> None:
    answer = traced.post(json.dumps({"instances": [traced.example]}))
    found = collector.one("POST /predict").attributes
    assert found["model.version"] == traced.artifact.model.version
    assert found["request.id"] == answer.headers["x-request-id"]
    assert {name: value for name, value in found.items() if name.startswith(("http.", "url."))} == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/predict",
        "url.path": "/predict",
        "url.scheme": "http",
    }


def test_a_callers_trace_continues(traced: Any, collector: Collector) -> None:
    traced.client.get("/health/live", headers={"traceparent": f"00-{TRACE}-{CALLER}-01"})
    span = collector.one("GET /health/live")
    assert (span.trace_id, span.parent_id) == (TRACE, CALLER)


def test_a_caller_who_does_not_sample_gets_no_spans(traced: Any, collector: Collector) -> None:
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-00"}
    traced.post(json.dumps({"instances": [traced.example]}), **headers)
    traced.client.get("/health/live")
    collector.one("GET /health/live")
    assert TRACE not in {span.trace_id for span in collector.spans}


def test_a_problem_names_its_trace(traced: Any, collector: Collector) -> None:
    problem = traced.predict({}).json()
    assert problem["trace_id"] == collector.one("POST /predict").trace_id
    problem = traced.client.get("/nothing/at/all").json()
    span = collector.one("GET")
    assert problem["trace_id"] == span.trace_id
    assert "http.route" not in span.attributes


def test_a_line_of_the_access_log_names_its_span(
    start: Callable[..., Any], collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    traced = make_traced(start, collector)
    traced.client.get("/model-info")
    span = collector.one("GET /model-info")
    traced.app.state.access_log.stop()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"/model-info"' in line]
    assert [(line["trace_id"], line["span_id"]) for line in lines] == [(span.trace_id, span.span_id)]


def test_a_request_that_is_refused_has_the_steps_that_it_came_to(traced: Any, collector: Collector) -> None:
    assert traced.predict(traced.changed(size="large")).status_code == 422
    span = collector.one("POST /predict")
    names = {each.name for each in collector.spans if each.parent_id == span.span_id}
    assert names == {"decode"}
    assert (span.attributes["http.response.status_code"], span.status) == (422, 0)


def test_a_failure_of_the_service_is_an_error_of_the_span(
    traced: Any, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traced.app.state.serving.current, "check", lambda *_: 1 / 0)
    assert traced.predict(traced.example).status_code == 500
    span = collector.one("POST /predict")
    assert (span.status, span.attributes["error.type"]) == (2, "500")


def test_a_table_is_one_span_however_many_blocks_it_has(traced: Any, collector: Collector) -> None:
    lines = "\n".join([json.dumps(traced.example)] * 12_000)
    assert traced.post(lines, "application/x-ndjson").status_code == 200
    table = collector.steps(collector.one("POST /predict"))["table"]
    assert not collector.steps(table)


def test_standard_variables_name_the_service_and_choose_the_sample(
    start: Callable[..., Any], collector: Collector
) -> None:
    collector.spans.clear()
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20abc",
        "OTEL_BSP_SCHEDULE_DELAY": "10",
        "OTEL_SERVICE_NAME": "scores",
        "OTEL_TRACES_SAMPLER": "parentbased_always_off",
    }
    with patch.dict(os.environ, variables):
        service = start()
    service.client.get("/health/live")
    service.client.get("/health/ready", headers={"traceparent": f"00-{TRACE}-{CALLER}-01"})
    assert collector.one("GET /health/ready").resource["service.name"] == "scores"
    assert [span.name for span in collector.server_spans()] == ["GET /health/ready"]
    assert collector.headers[-1]["authorization"] == "Basic abc"


def test_a_query_is_not_sent(traced: Any, collector: Collector) -> None:
    traced.client.get("/health/live?code=secret")
    assert collector.one("GET /health/live").attributes["url.query"] == "REDACTED"
