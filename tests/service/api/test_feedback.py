"""POST /feedback: the outcome of a prediction is checked, stored once and counted."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from service.feedback import store_outcomes
from service.routes import feedback as route
from service.users.database import FEEDBACK, Database
from tests.service.processes import wait_for

Start = Callable[..., Any]
DAY = 86_400


def predict(service: Any, *rows: Any) -> Any:
    body = json.dumps({"instances": rows or [service.example]})
    return service.client.post(
        "/predict?ids=true", content=body, headers={**service.headers, "Content-Type": "application/json"}
    ).json()


def tell(service: Any, prediction_id: str, actual: Any) -> Any:
    return service.client.post(
        "/feedback", json={"prediction_id": prediction_id, "actual": actual}, headers=service.headers
    )


def test_ids_come_only_when_asked_for_and_one_for_each_row(service: Any) -> None:
    assert "prediction_ids" not in service.predict(service.example).json()
    ids = predict(service, service.example, service.example)["prediction_ids"]
    assert len(set(ids)) == 2
    assert predict(service)["predictions"] == service.predict(service.example).json()["predictions"]


def test_an_outcome_is_stored_and_counted_once(start: Start) -> None:
    service = start()
    answer = predict(service)
    (prediction_id,), (label,) = answer["prediction_ids"], answer["predictions"]
    assert [tell(service, prediction_id, label).json()["status"] for _ in range(3)] == ["new", "known", "known"]
    assert service.metric("feedback_rows_total", outcome="correct") == 1
    assert service.metric("feedback_score_rows_total") == 1
    database: Database = service.app.state.access.database
    with database.reading() as session:
        (kept,) = session.execute(select(FEEDBACK))
        assert (kept.version, json.loads(kept.actual)) == (service.artifact.model.version, label)


def test_a_wrong_prediction_counts_as_wrong_and_moves_the_calibration(start: Start) -> None:
    service = start()
    contract = service.artifact.contract
    answer = predict(service)
    (other,) = {*contract.classes} - {*answer["predictions"]}
    tell(service, answer["prediction_ids"][0], other)
    assert service.metric("feedback_rows_total", outcome="wrong") == 1
    assert service.metric("feedback_score_positives_total") == (other == contract.positive)


def test_the_error_of_a_number_is_measured(start: Start) -> None:
    service = start("regression")
    answer = predict(service)
    tell(service, answer["prediction_ids"][0], answer["predictions"][0] + 2)
    assert service.metric("feedback_absolute_error_total") == pytest.approx(2)
    assert service.metric("feedback_rows_total", outcome="measured") == 1


@pytest.mark.parametrize("actual", ["1" + "0" * 400, "1e308", "-1e39"])
def test_a_number_beyond_float32_is_refused_as_an_outcome(start: Start, actual: str) -> None:
    service = start("regression")
    body = f'{{"prediction_id": "{predict(service)["prediction_ids"][0]}", "actual": {actual}}}'
    headers = service.headers | {"Content-Type": "application/json"}
    answer = service.client.post("/feedback", content=body, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["expected"]) == (422, "a number from -3.4e+38 to 3.4e+38")
    assert service.metric("feedback_absolute_error_total") == 0


def test_an_outcome_stored_after_its_caller_disconnected_is_counted(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, may_go_on = start(), threading.Event()
    (prediction_id,) = predict(service)["prediction_ids"]
    with monkeypatch.context() as slow:
        slow.setattr(route, "ANSWER_SECONDS", 1.0)
        slow.setattr(route, "store_outcomes", lambda *given: may_go_on.wait() and store_outcomes(*given))
        late = tell(service, prediction_id, "да").status_code
        may_go_on.set()
        wait_for(lambda: service.metric("feedback_rows_total") == 1, "the count")
    assert (late, tell(service, prediction_id, "да").json()["status"]) == (503, "known")


def test_another_outcome_is_refused_and_the_first_stays(start: Start) -> None:
    service = start()
    (prediction_id,) = predict(service)["prediction_ids"]
    tell(service, prediction_id, "да")
    answer = tell(service, prediction_id, "нет")
    assert (answer.status_code, answer.json()["detail"]) == (
        409, 'Another outcome, "да", is already stored for this prediction',
    )  # fmt: skip
    assert service.metric("feedback_rows_total") == 1


@pytest.mark.parametrize(
    ("target", "actual"),
    [("binary", "maybe"), ("binary", 1), ("boolean", 1), ("multiclass", True), ("multiclass", 9), ("regression", "x"),
     ("regression", True)],
)  # fmt: skip
def test_an_impossible_outcome_is_refused(start: Start, target: str, actual: Any) -> None:
    service = start(target)
    answer = tell(service, predict(service)["prediction_ids"][0], actual)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "actual")


@pytest.mark.parametrize(("start", "end"), [(0, -1), (1, None), (0, 0), (0, 21)])
def test_an_id_that_was_cut_is_refused(service: Any, start: int, end: int | None) -> None:
    answer = tell(service, predict(service)["prediction_ids"][0][start:end], "да")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "prediction_id")


def test_an_id_that_was_changed_anywhere_is_refused(service: Any) -> None:
    made = predict(service)["prediction_ids"][0]
    changed = [made[:place] + ("A" if made[place] != "A" else "B") + made[place + 1 :] for place in range(0, 60, 7)]
    assert {tell(service, each, "да").status_code for each in [*changed, "é"]} == {422}


def test_an_id_ends_after_some_days(start: Start) -> None:
    service = start(feedback_days=2)
    ids = service.app.state.prediction_ids
    made = ids.make(service.artifact.model.version, [("да", 0.5, False)])[0]
    ids._clock = lambda: 0.0
    old = ids.make(service.artifact.model.version, [("да", 0.5, False)])[0]
    ids._clock = lambda: 2.0 * DAY + 1
    assert tell(service, old, "да").status_code == 410
    assert ids.read(made)


def test_ids_signed_with_the_key_before_count(service: Any, start: Start) -> None:
    made = predict(service)["prediction_ids"][0]
    moved = start(
        secret_key="another-secret-for-tests-of-32-bytes", secret_key_previous="a-secret-for-tests-of-32-bytes-or-more"
    )
    assert tell(moved, made, "да").status_code == 200


def test_feedback_needs_a_token(service: Any) -> None:
    assert service.client.post("/feedback", json={"prediction_id": "x", "actual": 1}).status_code == 401


def test_a_database_that_is_down_is_reported(start: Start) -> None:
    service = start()
    (prediction_id,) = predict(service)["prediction_ids"]
    database = service.app.state.settings.database_url.get_secret_value().removeprefix("sqlite:///")
    Path(database).unlink()
    assert tell(service, prediction_id, "да").status_code == 503
