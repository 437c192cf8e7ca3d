"""Replicas behind the proxy are replaced, and get new releases, one after the other while requests run."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.proxy.conftest import Proxy, proxying
from tests.service.artifacts import onnx_bytes, written
from tests.service.processes import BODY, Service, running, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("proxy")]

DRAIN = Path(__file__).parents[2] / "deploy/proxy/drain.sh"
TABLE = "x0,x1\n" + "0.25,0.5\n" * 3000
PREDICTIONS = 'http_requests_total{handler="/predict"'


@dataclass
class Traffic:
    """Clients of the proxy that send rows, and one that sends tables, one after another."""

    proxy: Proxy
    headers: httpx.Headers
    answered: int = 0
    tables: int = 0
    versions: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self) -> Iterator["Traffic"]:
        threads = [threading.Thread(target=self._send, args=(each,)) for each in (self._row, self._row, self._table)]
        for thread in threads:
            thread.start()
        try:
            self.goes_on()
            yield self
            self.goes_on()
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()

    def goes_on(self) -> None:
        rows, tables = self.answered, self.tables
        wait_for(lambda: self.failed or (self.answered > rows + 20 and self.tables > tables + 2), "more answers")

    def _send(self, send: object) -> None:
        assert callable(send)
        with self.proxy.client(headers=self.headers, timeout=20) as client:
            while not self._stopping.is_set():
                try:
                    send(client)
                except (httpx.HTTPError, AssertionError) as error:
                    self.failed.append(repr(error))

    def _row(self, client: httpx.Client) -> None:
        answer = client.post("/predict", json=BODY)
        assert answer.status_code == 200, answer.text
        self.versions.append(answer.json()["model"]["version"])
        self.answered += 1

    def _table(self, client: httpx.Client) -> None:
        answer = client.post("/predict", content=TABLE, headers={"Content-Type": "text/csv"})
        assert answer.status_code == 200, answer.text
        assert answer.text.count("\n") == TABLE.count("\n")
        self.tables += 1


def drain(proxy: Proxy, *replicas: Service) -> None:
    addresses = [f"127.0.0.1:{each.port}" for each in replicas]
    subprocess.run([DRAIN, *addresses], env={**os.environ, "FOLDER": str(proxy.work)}, check=True)


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Service]]:
    root = written(tmp_path_factory.mktemp("replicas"))
    with running(root) as one, running(root) as two:
        yield [one, two]


@pytest.fixture
def traffic(tmp_path: Path, replicas: list[Service]) -> Iterator[Traffic]:
    addresses = ",".join(f"127.0.0.1:{each.port}" for each in replicas)
    with (
        proxying(tmp_path / "proxy", addresses, PAUSE="0.5") as proxy,
        Traffic(proxy, replicas[0].client.headers).running() as made,
    ):
        yield made


def test_replicas_restart_one_after_the_other_and_no_request_fails(traffic: Traffic, replicas: list[Service]) -> None:
    for replica in replicas:
        drain(traffic.proxy, replica)
        before = replica.metric(PREDICTIONS)
        traffic.goes_on()
        assert replica.metric(PREDICTIONS) == before, "no new request reaches a drained replica"
        assert replica.stop() == 0
        replica.restart()
        wait_for(replica.is_live, "the start", 40)
        drain(traffic.proxy)
        wait_for(lambda replica=replica: replica.metric(PREDICTIONS) > 0, "requests at the new one")

    assert traffic.failed == []


def test_a_new_release_comes_to_every_replica_and_no_request_fails(traffic: Traffic, replicas: list[Service]) -> None:
    before = traffic.versions[-1]
    after = replicas[0].root.write(onnx_bytes(7))
    for replica in replicas:
        wait_for(lambda replica=replica: replica.version() == after, "the new release")
    traffic.versions.clear()
    traffic.goes_on()

    assert before != after
    assert set(traffic.versions) == {after}
    assert traffic.failed == []
