"""What the API tells about itself: model, health, metrics, description, logs."""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from service import release
from service.auth.watch import Snapshot
from service.instruments.predictions import INSTANCE_BOUNDS
from tests.service.processes import wait_for

Start = Callable[..., Any]


def test_model_info_shows_release_and_model(service: Any) -> None:
    info = service.client.get("/model-info").json()
    assert (info["name"], info["version"]) == ("shop", service.artifact.model.version)
    assert info["release"] == service.artifact.root.current.name
    assert (info["task"], info["target"], info["classes"], info["positive"]) == ("binary", "y", ["да", "нет"], "да")
    assert (info["params"]["n_estimators"], info["metrics"], info["data_md5"]) == (10, {"threshold": 0.5}, "d" * 32)
    by_name = {feature["name"]: feature for feature in info["features"]}
    assert by_name["kind"] == {
        "name": "kind", "type": "category", "nullable": False, "strict": False, "categories": ["one", "two"],
    }  # fmt: skip
    assert {"minimum", "maximum"} <= by_name["size"].keys()


def test_it_is_live_and_ready(service: Any) -> None:
    assert service.client.get("/health/live").json() == {"status": "live"}
    assert service.client.get("/health/ready").json() == {"status": "ready", "model": "ok", "database": "ok"}


def test_it_reports_a_database_that_is_down_and_still_predicts(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    service = start()
    monkeypatch.setattr(service.app.state.access.watch, "failure", "no answer")
    answer = service.client.get("/health/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "degraded", "model": "ok", "database": "down"})
    assert service.predict(service.example).status_code == 200


def test_it_is_unready_until_the_database_answered_once(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    service = start()
    access = service.app.state.access
    monkeypatch.setattr(access.watch, "failure", "no answer")
    monkeypatch.setattr(access.watch, "known", Snapshot())

    answer = service.client.get("/health/ready")

    assert (answer.status_code, answer.json()["status"]) == (503, "unready")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/predict", 405),
        ("PUT", "/token", 405),
        ("GET", "/docs/../../etc/passwd", 404),
    ],
)
def test_wrong_paths_and_methods_are_problems(service: Any, method: str, path: str, status: int) -> None:
    answer = service.client.request(method, path)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("method", ["OPTIONS", "PUT"])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/admin/users", "GET, POST"),
        ("/admin/users/anna", "DELETE"),
        ("/predict", "POST"),
        ("/health/live", "GET"),
    ],
)
def test_a_wrong_method_gets_the_allowed_ones(service: Any, method: str, path: str, allowed: str) -> None:
    answer = service.client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_a_head_is_a_get_without_the_body(service: Any) -> None:
    answer = service.client.request("HEAD", "/model-info")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("path", ["/predict", "/nothing", "/model-info", "/docs"])
def test_every_answer_has_an_id_and_security_headers_and_names_no_server(service: Any, path: str) -> None:
    headers = service.client.post(path, headers={"X-Request-ID": "my-id.1"}).headers
    assert headers["x-request-id"] == "my-id.1"
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "server" not in headers


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "id\u00e9", '"'])
def test_an_unusable_request_id_is_replaced(service: Any, given: str) -> None:
    made = service.client.get("/health/live", headers={"X-Request-ID": given.encode()}).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", made)


def test_predictions_and_their_rows_are_counted(start: Start) -> None:
    service = start()
    service.predict(*[service.example] * 3, service.changed(kind="three", **{"a b": None}))
    service.predict(service.changed(size="x"))
    assert service.metric("predictions_total") == 4
    assert service.metric("feature_rows_total", feature="kind", bin="unseen") == 1
    assert service.metric("feature_rows_total", feature="a b", bin="missing") == 1
    assert service.metric("feature_rows_total", feature="size") == 4
    assert service.metric("prediction_warnings_total", feature="kind", kind="unseen_category") == 1
    assert service.metric("prediction_errors_total", feature="size", kind="wrong_type") == 1
    assert service.metric("http_requests_total", handler="/predict", status="2xx") == 1
    assert service.metric("http_requests_total", handler="/predict", status="4xx") == 1
    assert service.metric("http_request_duration_seconds_count", handler="/predict") == 2
    assert service.metric("prediction_instances_bucket", le=str(INSTANCE_BOUNDS[1])) == 1
    assert service.metric("model_info", version=service.artifact.model.version) == 1


@pytest.mark.parametrize(
    ("method", "path", "handler", "status"),
    [
        ("GET", "/health/live", "/health/live", "2xx"),
        ("POST", "/token", "/token", "4xx"),
        ("GET", "/v2/models/other", "/v2/models/{name}", "4xx"),
        ("POST", "/v2/models/other/infer", "/v2/models/{name}/infer", "4xx"),
    ],
)
def test_a_request_is_counted_under_its_route(service: Any, method: str, path: str, handler: str, status: str) -> None:
    labels = {"method": method, "handler": handler, "status": status}
    before = service.metric("http_requests_total", **labels)
    service.client.request(method, path)
    assert service.metric("http_requests_total", **labels) == before + 1


def test_running_requests_are_counted(start: Start) -> None:
    service = start()
    assert "\nhttp_requests_inprogress 1.0\n" in service.client.get("/metrics").text
    value = partial(service.app.state.registry.get_sample_value, "http_requests_inprogress")
    wait_for(lambda: value() == 0, "the end of the scrape in the gauge")


def test_the_model_in_service_is_shown_with_its_age_and_accepted_metrics(service: Any) -> None:
    version = service.artifact.model.version
    made = release.load(service.artifact.root.current).at.timestamp()
    assert service.metric("model_timestamp_seconds", version=version, source="release") == made
    assert service.metric("model_accepted_metric", version=version, metric="threshold") == 0.5
    assert service.metric("service_build_info") == 1


def test_a_number_falls_into_the_bin_that_ends_at_or_above_it(start: Start) -> None:
    service = start()
    (feature,) = (each for each in service.artifact.contract.features if each.name == "size")
    edges = feature.bin_edges
    service.predict(*(service.changed(size=edge) for edge in edges), service.changed(size=edges[-1] + 0.001))
    upper = [labels["bin"] for labels in _bins(service, "size")]
    assert len(upper) == len(edges) + 2
    assert [service.metric("feature_rows_total", feature="size", bin=name) for name in upper] == [1] * (
        len(edges) + 1
    ) + [0]


def test_bins_and_their_training_shares_have_the_same_names(service: Any) -> None:
    for feature in service.artifact.contract.features:
        shares = [service.metric("feature_reference_share", **labels) for labels in _bins(service, feature.name)]
        assert sum(shares) == pytest.approx(1)


def _bins(service: Any, feature: str) -> list[dict[str, str]]:
    service.client.get("/metrics")
    return [
        sample.labels
        for family in service.app.state.registry.collect()
        for sample in family.samples
        if sample.name == "feature_rows_total" and sample.labels["feature"] == feature
    ]


def test_no_caller_can_make_a_series(service: Any) -> None:
    def series() -> int:
        return len([line for line in service.client.get("/metrics").text.splitlines() if line[0] != "#"])

    before = series()
    for number in range(20):
        service.client.request(f"M{number}", f"/path/{number}")
        service.predict(service.changed(**{f"field{number}": number, "kind": str(number)}))
    assert series() == before


def test_a_request_is_logged_with_who_what_and_how_long_and_nothing_secret(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    service = start()
    service.post(json.dumps({"instances": [service.example]}), **{"X-Request-ID": "abc"})
    service.client.get("/nothing?token=hidden")
    service.client.request("HEAD", "/v2/models/shop", headers={"X-Request-ID": "head"})
    service.app.state.access_log.stop()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (line,) = (each for each in lines if each["request_id"] == "abc")
    (head,) = (each for each in lines if each["request_id"] == "head")
    assert (head["method"], head["route"], head["status"]) == ("HEAD", "/v2/models/{name}", 200)
    assert line.pop("duration_ms") > 0
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info", "event": "request", "request_id": "abc", "user": "anna", "method": "POST",
        "route": "/predict", "status": 200, "model_version": service.artifact.model.version, "instances": 1,
    }  # fmt: skip
    assert not any(secret in json.dumps(lines) for secret in (service.token, "correct horse", "hidden"))
