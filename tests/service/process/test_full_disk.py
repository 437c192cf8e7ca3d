"""A service that can write no file any more answers what needs none, says so of the rest, and heals by itself."""

import resource
from collections.abc import Iterator

import httpx
import pytest

from tests.service.artifacts import Root, onnx_bytes, written
from tests.service.processes import ADMIN, BODY, Service, running, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("full disk")]

TABLE = "x0,x1\n" + "0.25,0.5\n" * 200_000
"""Its answer is larger than what is held in memory."""
USER = {"username": "bert", "password": "battery staple"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return written(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def service(root: Root) -> Iterator[Service]:
    """Return a service whose files can't grow."""
    with running(root) as made:
        limit(made, 0)
        yield made


def limit(service: Service, size: int) -> None:
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def send_table(service: Service) -> httpx.Response:
    return service.client.post("/predict", content=TABLE, headers={"Content-Type": "text/csv"})


def test_instances_are_predicted_and_counted(service: Service) -> None:
    before = service.metric("predictions_total")
    assert service.client.post("/predict", json=BODY).status_code == 200
    assert service.metric("predictions_total") == before + 1


def test_tokens_are_given(service: Service) -> None:
    assert service.client.post("/token", data=ADMIN).status_code == 200


def test_a_table_whose_answer_fills_the_disk_gets_507(service: Service) -> None:
    assert send_table(service).status_code == 507


def test_a_table_whose_answer_lacks_room_for_its_last_byte_gets_507(service: Service) -> None:
    limit(service, resource.RLIM_INFINITY)
    length = int(send_table(service).headers["Content-Length"])
    limit(service, length - 1)

    assert send_table(service).status_code == 507
    limit(service, 0)


def test_a_user_who_cannot_be_written_gets_an_error(service: Service) -> None:
    assert service.client.post("/admin/users", json=USER).status_code == 503


def test_health_reports_a_read_only_database(service: Service) -> None:
    wait_for(lambda: service.client.get("/health/ready").json()["database"] == "read-only", "the check", 15)
    assert service.client.get("/health/ready").json()["status"] == "degraded"


def test_once_there_is_room_everything_works_again(service: Service, root: Root) -> None:
    limit(service, resource.RLIM_INFINITY)
    version = root.write(onnx_bytes(lean=2.0))

    wait_for(lambda: service.version() == version, "the new model")
    assert send_table(service).status_code == 200
    assert service.client.post("/admin/users", json=USER).status_code == 201
    assert service.client.post("/predict", json=BODY).status_code == 200
    wait_for(lambda: service.client.get("/health/ready").json()["database"] == "ok", "the check", 15)
