"""Artifacts as the pipeline makes them, and the API over them."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import uvicorn
from anyio.from_thread import BlockingPortal, start_blocking_portal
from ruamel.yaml import YAML

from service import model
from service.app import Api, create_app
from service.contract import Contract
from service.settings import Settings
from service.shapley import to_text
from service.users.rules import SCOPES
from stages.export import __main__ as export
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.table import reader
from stages.train import __main__ as train
from tests.service.artifacts import Root, when_ready

SECRET = "a-secret-for-tests-of-32-bytes-or-more"
PASSWORD = "correct horse"
ROWS = 300
TARGETS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "binary": lambda table: np.where(table["size"] + table["flag"] > 1.0, "да", "нет"),
    "boolean": lambda table: table["size"] > 0.5,
    "multiclass": lambda table: pd.cut(table["size"], [-9, 0, 0.5, 9], labels=[1, 2, 3]).astype(int),
    "regression": lambda table: table["size"] * 3 + table["flag"],
}


def make_table() -> pd.DataFrame:
    """Return rows with each kind of feature; `size` and `flag` have no missing values."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "size": rng.normal(size=ROWS),
            "a b": rng.normal(size=ROWS) * 100,
            "shop": rng.choice(["é", "x|y", "<script>"], ROWS),
            "kind": rng.choice(["one", "two"], ROWS),
            "flag": rng.random(ROWS) > 0.5,
            "when": pd.date_range("2020-01-01", periods=ROWS, freq="37h"),
        }
    )
    table.loc[::7, "a b"] = np.nan
    table.loc[::9, "shop"] = None
    table.loc[::11, "when"] = pd.NaT
    return table


@dataclass(frozen=True)
class Artifact:
    """A folder of releases with one in it."""

    root: Root
    model: model.Model

    @property
    def contract(self) -> Contract:
        return self.model.contract

    def settings(self, **changes: Any) -> Settings:
        cheap = {"argon2_time_cost": 1, "argon2_memory_kib": 8, "argon2_parallelism": 1}
        fixed = {
            "secret_key": SECRET,
            "admin_username": "anna",
            "admin_password": PASSWORD,
            "releases": self.root.releases,
            "log_format": "json",
            "metrics_seconds": 0.001,
        }
        return Settings.model_validate(fixed | cheap | changes)


class Client:
    """Speaks HTTP to an ASGI application that runs in another thread's event loop."""

    def __init__(self, app: Api, portal: BlockingPortal) -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://test")
        self._portal = portal

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        content = options.get("content")
        if content is not None and not isinstance(content, str | bytes):
            options["content"] = _in_pieces(content)
        return self._portal.call(partial(self._client.request, method, path, **options))

    def call(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """Run a coroutine function in the application's event loop."""
        return self._portal.call(function)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


async def _in_pieces(content: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


@dataclass(frozen=True)
class Service:
    """The API in this process, and a token for it."""

    app: Api
    client: Client
    artifact: Artifact
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def example(self) -> dict[str, Any]:
        return dict(self.app.state.serving.current.example)

    def post(self, content: bytes | str, kind: str = "application/json", **headers: str) -> Any:
        return self.client.post("/predict", content=content, headers={**self.headers, "Content-Type": kind, **headers})

    def predict(self, *instances: Any) -> Any:
        return self.post(json.dumps({"instances": instances}))

    def changed(self, **values: Any) -> dict[str, Any]:
        return self.example | values

    def metric(self, name: str, **labels: str) -> float:
        """Return a sample's value by its name and some of its labels, added up."""
        self.client.get("/metrics")
        samples = [each for family in self.app.state.registry.collect() for each in family.samples if each.name == name]
        return float(sum(each.value for each in samples if labels.items() <= each.labels.items()))


def expected_scores(artifact: Artifact, instances: list[dict[str, Any]]) -> npt.NDArray[np.float32]:
    """Score instances as the pipeline scores a table."""
    table = pd.DataFrame(instances)
    for feature in artifact.contract.features:
        column = table[feature.name] if feature.name in table else pd.Series([None] * len(table))
        if feature.type == "date":
            column = pd.to_datetime(pd.Series(column, dtype=object), format="ISO8601").astype("datetime64[us]")
        table[feature.name] = column if feature.type == "date" else column.astype(object).where(column.notna(), None)
    return artifact.model.scores(artifact.contract.encode(table))


def _params(root: Path) -> Params:
    raw = YAML(typ="safe", pure=True).load((root / "params.yaml").read_text(encoding="utf-8"))
    raw["data"] |= {"path": "table.csv", "target": "y", "positive": None}
    raw["split"] = {"method": "random", "test_size": 0.3, "time_column": None, "group_column": None}
    return Params.model_validate(raw | {"model": "random_forest", "n_estimators": 10, "features": {}})


@pytest.fixture(scope="session")
def make_artifact(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Artifact]:
    """Return a function that trains and exports for a kind of target, once for each."""

    @cache
    def make(target: str, strict: tuple[str, ...], threshold: float, model_name: str) -> Artifact:
        table = make_table()
        table["y"] = TARGETS[target](table)
        params = _params(root).model_copy(update={"model": model_name})
        rows, _, schema = prepare.prepare(table, params)
        features = tuple(each.model_copy(update={"strict": each.name in strict}) for each in schema.contract.features)
        contract = schema.contract.model_copy(update={"features": features})
        background = to_text(contract.encode(rows)[:64])
        content = export.export(train.train(rows, contract, params), contract, background=background)
        released = Root(tmp_path_factory.mktemp(target))
        released.write(content, json.dumps({"threshold": threshold}).encode(), name="shop")
        return Artifact(released, model.load(released.model))

    # The cache distinguishes a default that is passed from one that isn't.
    return lambda target="binary", strict=(), threshold=0.5, model_name="random_forest": make(
        target, strict, threshold, model_name
    )


@dataclass(frozen=True)
class Learnt:
    """A service whose model was trained on a CSV file, and what the pipeline says about its rows."""

    service: Service
    scores: npt.NDArray[np.float32]


@pytest.fixture
def learn(root: Path, tmp_path: Path) -> Iterator[Callable[..., Learnt]]:
    """Return a function that trains on a CSV file with the target `y`, and starts an API."""
    with contextlib.ExitStack() as running:

        def learn(content: bytes, model_name: str = "logistic_regression", features: Any = None, **data: Any) -> Learnt:
            path = tmp_path / "table.csv"
            path.write_bytes(content)
            params = _params(root).model_copy(update={"model": model_name, "features": features or {}})
            changes = data | {"path": str(path), "ignore": data.get("ignore", [])}
            params = params.model_copy(update={"data": params.data.model_copy(update=changes)})
            table, reading = reader.read_table(params.read_data)
            rows, _, schema = prepare.prepare(table, params, reading)
            exported = export.export(train.train(rows, schema.contract, params), schema.contract)
            released = Root(tmp_path)
            released.write(exported, b'{"threshold": 0.5}', name="shop")
            artifact = Artifact(released, model.load(released.model))
            service = running.enter_context(_run(artifact, tmp_path))
            return Learnt(service, artifact.model.scores(schema.contract.encode(table)))

        yield learn


@contextlib.contextmanager
def _run(artifact: Artifact, folder: Path, **changes: Any) -> Iterator[Service]:
    settings = artifact.settings(database_url=f"sqlite:///{folder / 'users.db'}", **changes)
    app = create_app(settings)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(app.router.lifespan_context(app)):
        client = Client(app, portal)
        access = when_ready(app)  # not POST /token: on a busy machine its thread may answer too late
        token, _ = access.tokens.issue("anna", SCOPES, max(access.watch.known.users))
        yield Service(app, client, artifact, token)


@pytest.fixture(scope="session")
def service(make_artifact: Callable[..., Artifact], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Return the API of a binary classifier, shared by all tests that change nothing."""
    with _run(make_artifact(), tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def start(make_artifact: Callable[..., Artifact], tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Return a function that starts an API for one test."""
    with contextlib.ExitStack() as running:

        def start(
            target: str = "binary",
            strict: tuple[str, ...] = (),
            threshold: float = 0.5,
            model_name: str = "random_forest",
            artifact: Artifact | None = None,
            **changes: Any,
        ) -> Service:
            artifact = artifact or make_artifact(target, strict, threshold, model_name)
            return running.enter_context(_run(artifact, tmp_path, **changes))

        yield start


@pytest.fixture(scope="session")
def score() -> Callable[..., npt.NDArray[np.float32]]:
    """Return the function that scores instances as the pipeline does."""
    return expected_scores


@contextlib.contextmanager
def _serve(artifact: Artifact, folder: Path, **changes: Any) -> Iterator[tuple[str, Api]]:
    """Listen on loopback; give the address and the application."""
    app = create_app(artifact.settings(database_url=f"sqlite:///{folder / 'users.db'}", **changes))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", access_log=False, ws="none"))
        thread = threading.Thread(target=asyncio.run, args=[server.serve([listener])])
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"127.0.0.1:{listener.getsockname()[1]}", app
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """Return a context manager that serves an artifact on loopback, with its data in a folder."""
    return _serve


@pytest.fixture(scope="session")
def live(make_artifact: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return the address of a server, and a token for it."""
    artifact = make_artifact()
    with _serve(artifact, tmp_path_factory.mktemp("live")) as (address, app):
        access = when_ready(app)
        yield address, access.tokens.issue("anna", ["predict"], access.watch.known.revision + 1)[0], artifact
