"""A service with traffic, and a Prometheus that scrapes it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from monitoring.timing import SHORT
from service.contract import Contract
from tests.monitoring.programs import program
from tests.monitoring.world import Caller, Prometheus, make_artifact, prometheus
from tests.service.artifacts import Root
from tests.service.processes import Service, running, wait_for


@dataclass(frozen=True)
class Watched:
    """A running service and its Prometheus."""

    service: Service
    prometheus: Prometheus
    contract: Contract
    caller: Caller

    def send(self, requests: int) -> None:
        """Send requests, and wait until the rules have counted every row."""
        for _ in range(requests):
            self.caller.send()
        rows = sum(len(each["size"]) for each in self.caller.sent)
        for window in ("1h", "24h"):
            judged = f"count(feature:psi:{window} and on (feature) feature:rows:sum{window} == {rows})"
            wait_for(lambda judged=judged: self.prometheus.value(judged) == len(self.contract.features), "rules", 20)


@pytest.fixture(scope="package")
def artifact(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Root, Contract]:
    """Return a small model like the pipeline's."""
    return make_artifact(tmp_path_factory.mktemp("artifact"), root)


@pytest.fixture(scope="module")
def service(artifact: tuple[Root, Contract]) -> Iterator[Service]:
    """Return a service with two workers."""
    with running(artifact[0], WORKERS="2") as made:
        yield made


@pytest.fixture(scope="module")
def watched(
    artifact: tuple[Root, Contract], service: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """Return a service after traffic, and a Prometheus that has scraped all of it, with production's drift windows.

    Not for longer: its many rules and scrapes take a tenth of a core.
    """
    program("prometheus")
    token = service.client.headers["Authorization"].removeprefix("Bearer ")
    caller = Caller(f"http://127.0.0.1:{service.port}", token)
    timing = replace(SHORT, hour="1h", day="24h")
    with prometheus(tmp_path_factory.mktemp("prometheus"), service.port, timing=timing) as made:
        caller.change = lambda rows, rng: rows.update(noise=rng.normal(1.0, 0.5, len(rows["noise"])))
        found = Watched(service, made, artifact[1], caller)
        found.send(30)
        yield found
        caller.client.close()
