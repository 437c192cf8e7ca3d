"""A client of a real service on loopback."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from reproducible_ml_client import Client

from service import model
from tests.service.api.conftest import PASSWORD, Artifact, _serve, make_artifact, make_table
from tests.service.artifacts import Root, with_coverage

__all__ = ["make_artifact"]


class Switch(httpx.HTTPTransport):
    """Sends requests to the server at `port`, or answers POST /predict from `planned` first: with a
    response, with an exception, or after a call. Collects the paths of all requests.
    """

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.planned: list[Any] = []
        self.paths: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.paths.append(request.url.path)
        if self.planned and request.url.path == "/predict":
            planned = self.planned.pop(0)
            if isinstance(planned, Exception):
                raise planned
            if isinstance(planned, httpx.Response):
                return planned
            planned()
        request.url = request.url.copy_with(port=self.port)
        return super().handle_request(request)


Connect = Callable[..., tuple[Client, Switch]]


@pytest.fixture
def ports(make_artifact: Any, tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Return a function that starts a service for one test, and returns its port."""
    with contextlib.ExitStack() as running:

        def start(target: str = "binary", *, covered: bool = False, **changes: Any) -> int:
            artifact: Artifact = make_artifact(target)
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            folder.mkdir()
            if covered:
                released = Root(folder)
                released.write(with_coverage(artifact.root.model), b'{"threshold": 0.5}', name="shop")
                artifact = Artifact(released, model.load(released.model))
            address, _ = running.enter_context(_serve(artifact, folder, **changes))
            return int(address.rpartition(":")[2])

        yield start


@pytest.fixture
def connect(ports: Callable[..., int]) -> Iterator[Connect]:
    """Return a function that starts a service and connects a client, which signs in by a password."""
    with contextlib.ExitStack() as opened:

        def connect(target: str = "binary", *, retries: int = 5, **changes: Any) -> tuple[Client, Switch]:
            switch = Switch(ports(target, **changes))
            http = opened.enter_context(httpx.Client(transport=switch, timeout=20))
            url = f"http://127.0.0.1:{switch.port}"
            return Client(url, username="anna", password=PASSWORD, retries=retries, http=http), switch

        yield connect


@pytest.fixture(scope="session")
def client(make_artifact: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Return a client of a binary classifier, shared by all tests that change nothing."""
    with (
        _serve(make_artifact(), tmp_path_factory.mktemp("shared")) as (address, _),
        Client(f"http://{address}", username="anna", password=PASSWORD) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    """Return rows with each kind of feature, under labels."""
    table = make_table()
    return table.set_axis(pd.Index([f"row {number}" for number in range(len(table))], name="id"))
