"""The service goes wrong in four ways; whoever is on call hears of each, once, and of its end.

The real Prometheus and Alertmanager, with production's rules and routes in short windows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from tests.monitoring.programs import program
from tests.monitoring.world import Caller, Prometheus, Receiver, Rows, alertmanager, make_artifact, prometheus
from tests.service.artifacts import Root
from tests.service.processes import Service, free_port, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("end_to_end"), pytest.mark.timeout(240)]

Alerts = set[tuple[str, str]]
PATIENCE = 60.0
QUIET_ROWS = 600


@dataclass
class Stage:
    """All running programs."""

    root: Root
    service: Service
    caller: Caller
    prometheus: Prometheus
    receiver: Receiver
    heard: int = field(default=0)

    def begin(self) -> None:
        """Forget earlier messages."""
        self.heard = len(self.receiver.heard)

    def fired(self) -> Alerts:
        return self.receiver.alerts("firing", self.heard)

    def resolved(self) -> Alerts:
        return self.receiver.alerts("resolved", self.heard)

    def pages(self) -> int:
        """Count the critical messages."""
        messages = self.receiver.heard[self.heard :]
        return sum(each["receiver"] == "critical" and each["status"] == "firing" for each in messages)

    def pending(self) -> list[dict[str, str]]:
        """Return the alerts that are pending or firing."""
        return [each["metric"] for each in self.prometheus.query("ALERTS")]

    def calm(self) -> bool:
        return not self.pending()


@pytest.fixture(scope="module")
def stage(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Return a service under normal traffic, with its Prometheus and Alertmanager and no alert."""
    program("prometheus"), program("alertmanager")
    folder = tmp_path_factory.mktemp("stage")
    artifact, _ = make_artifact(folder / "root", root)
    service = Service(artifact)
    try:
        wait_for(service.is_live, "the start", 40)
        service.sign_in()
        url, token = str(service.client.base_url), service.client.headers["Authorization"].removeprefix("Bearer ")
        port = free_port()
        with (
            Receiver() as receiver,
            prometheus(folder / "prometheus", service.port, port) as watching,
            Caller(url, token) as caller,
        ):
            made = Stage(artifact, service, caller, watching, receiver)
            wait_for(lambda: (watching.value('feature:rows:sum1h{feature="size"}') or 0) > QUIET_ROWS, "traffic", 30)
            # Prometheus needs some seconds to find its targets, longer than ApiDown waits with the short windows.
            wait_for(made.calm, "calm", 30)
            with alertmanager(folder / "alertmanager", port, receiver, root):
                yield made
    finally:
        service.close()


def _only_upper(rows: Rows, rng: np.random.Generator) -> None:
    rows["noise"] = rng.uniform(0.5, 1.5, len(rows["noise"]))


def _unchanged(_rows: Rows, _rng: np.random.Generator) -> None:
    pass


def _heard(fired: Callable[[], Alerts], expected: Alerts) -> Callable[[], bool]:
    return lambda: fired() >= expected


def _recovers(stage: Stage, expected: Alerts) -> None:
    wait_for(_heard(stage.resolved, expected), "the resolution", PATIENCE)
    wait_for(stage.calm, "calm", PATIENCE)


def test_normal_traffic_fires_nothing(stage: Stage) -> None:
    assert stage.prometheus.query('ALERTS{alertstate="firing"}') == []  # a busy machine may make one pending
    assert stage.receiver.heard == []
    assert set(stage.caller.statuses) == {200}


def test_only_the_feature_that_shifts_raises_an_alert(stage: Stage) -> None:
    stage.begin()
    expected = {("FeatureDrift", "noise")}
    stage.caller.change = _only_upper
    wait_for(_heard(stage.fired, expected), "the alert", PATIENCE)
    stage.caller.change = _unchanged
    _recovers(stage, expected)
    assert (stage.fired(), stage.pages()) == (expected, 0)


def test_a_bad_deployment_raises_an_alert_while_the_old_model_answers(stage: Stage) -> None:
    stage.begin()
    expected = {("ModelReloadFailing", "")}
    content = stage.root.model.read_bytes()
    stage.root.replace(stage.root.model, b"no model")
    wait_for(_heard(stage.fired, expected), "the alert", PATIENCE)
    stage.root.replace(stage.root.model, content)
    _recovers(stage, expected)
    assert (stage.fired(), stage.pages()) == (expected, 0)
    assert set(stage.caller.statuses) == {200}


def test_failing_requests_page_once(stage: Stage) -> None:
    stage.begin()
    database = stage.root.folder / "users.db"
    aside = database.replace(database.with_suffix(".aside"))
    database.mkdir()  # the service would make a missing file again
    stage.caller.logins = 2
    expected = {("HighErrorRate", "")}
    wait_for(_heard(stage.fired, expected), "the alert", PATIENCE)
    stage.caller.logins = 0
    database.rmdir()
    aside.replace(database)
    _recovers(stage, expected)
    # SlowErrorBurn may fire for longer than HighErrorRate; it is a warning.
    assert expected <= stage.fired() <= expected | {("SlowErrorBurn", "")}
    assert stage.pages() == 1


def test_a_killed_service_pages_once_and_mutes_other_alerts(stage: Stage) -> None:
    stage.begin()
    expected = {("ApiDown", "")}
    stage.service.process.kill()
    stage.service.process.wait()
    wait_for(_heard(stage.fired, expected), "the alert", PATIENCE)
    stage.service.restart()
    wait_for(stage.service.is_live, "the start", 40)
    _recovers(stage, expected)
    assert (stage.fired(), stage.pages()) == (expected, 1)
    (page,) = (each for each in stage.receiver.heard[stage.heard :] if each["status"] == "firing")
    assert "roll back to the previous release" in page["commonAnnotations"]["description"]
