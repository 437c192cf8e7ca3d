"""A small model, its service with traffic, Prometheus and Alertmanager."""

import contextlib
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import httpx
import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml
from ruamel.yaml import YAML

from monitoring import generate
from monitoring.timing import SHORT, Timing
from service import model
from service.contract import Contract
from stages.export import __main__ as export
from stages.params.params import Params
from stages.partitions.served import score as score_rows
from stages.prepare import __main__ as prepare
from stages.train import __main__ as train
from tests.monitoring.programs import program
from tests.service.artifacts import Root, with_coverage
from tests.service.processes import ADMIN, free_port, wait_for

ROWS = 2000
Rows = dict[str, npt.NDArray[Any]]
Change = Callable[[Rows, np.random.Generator], Any]


def draw(rng: np.random.Generator, rows: int = ROWS) -> Rows:
    """Return random rows like the training rows; the target depends on `size` and `flag`, not on `noise`."""
    noise = rng.normal(size=rows)
    noise[rng.random(rows) < 0.1] = np.nan
    return {
        "size": rng.normal(size=rows),
        "noise": noise,
        "shop": rng.choice(["north", "south", "west"], rows, p=[0.5, 0.3, 0.2]),
        "flag": rng.random(rows) < 0.4,
    }


def truth(rows: Rows) -> npt.NDArray[Any]:
    """Return the target of rows."""
    return np.where(rows["size"] + rows["flag"] > 0.5, "late", "on_time")


def instances(rows: Rows) -> list[dict[str, Any]]:
    """Return rows as the instances of a request."""
    names, columns = list(rows), [column.tolist() for column in rows.values()]
    return [
        {name: None if value != value else value for name, value in zip(names, row, strict=True)}  # noqa: PLR0124  # NaN
        for row in zip(*columns, strict=True)
    ]


def make_artifact(folder: Path, repository: Path, n_estimators: int = 10) -> tuple[Root, Contract]:
    """Train and export a small forest like the pipeline, and write its release."""
    table = pd.DataFrame(drawn := draw(np.random.default_rng(1)))
    table["y"] = truth(drawn)
    root, contract, _ = make_model(folder, repository, table, n_estimators)
    return root, contract


def make_model(
    folder: Path, repository: Path, table: pd.DataFrame, n_estimators: int = 10
) -> tuple[Root, Contract, pd.DataFrame]:
    """Train on a table with the target ``y``; also return the training rows."""
    raw = YAML(typ="safe", pure=True).load((repository / "params.yaml").read_text(encoding="utf-8"))
    raw["data"] |= {"path": "table.csv", "target": "y", "positive": None}
    raw["split"] = {"method": "random", "test_size": 0.3, "time_column": None, "group_column": None}
    params = Params.model_validate(raw | {"features": {}, "n_estimators": n_estimators})
    rows, tested, schema = prepare.prepare(table, params)
    pipeline = train.train(rows, schema.contract, params)
    made = model.from_bytes(export.export(pipeline, schema.contract), "model.onnx")
    bins = export.score_bins(schema.contract, score_rows(made, tested), score_rows(made, rows))
    content = export.export(pipeline, schema.contract, score_bins=bins.model_dump_json())
    root = Root(folder)
    (folder / "plain.onnx").write_bytes(content)
    root.write(
        with_coverage(folder / "plain.onnx"), json.dumps({"accuracy": 0.9, "roc_auc": 0.95, "threshold": 0.5}).encode()
    )
    return root, schema.contract, rows


class Caller:
    """Sends rows repeatedly in a thread, and records them."""

    def __init__(self, url: str, token: str, rows: int = 40, pause: float = 0.1) -> None:
        self.client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
        self._rows, self._pause = rows, pause
        self._rng = np.random.default_rng(2)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.change: Change = lambda _rows, _rng: None
        """A function that changes the rows before they are sent."""
        self.logins = 0
        """How many logins to send with each request."""
        self.sent: list[Rows] = []
        self.statuses: list[int] = []

    def send(self) -> None:
        """Send one request."""
        rows = draw(self._rng, self._rows)
        self.change(rows, self._rng)
        answer = self.client.post("/predict", json={"instances": instances(rows)})
        self.statuses.append(answer.status_code)
        self.sent.append(rows)
        for _ in range(self.logins):
            self.statuses.append(self.client.post("/token", data=ADMIN).status_code)

    def _work(self) -> None:
        while not self._stopping.wait(self._pause):
            with contextlib.suppress(httpx.TransportError):  # the test has killed the service
                self.send()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self.client.close()


class Prometheus:
    """A Prometheus with the project's rules that scrapes one service."""

    def __init__(self, folder: Path, target: int, alertmanager: int | None = None, timing: Timing = SHORT) -> None:
        self.port = free_port()
        (folder / "rules").mkdir(parents=True)
        for name, text in generate.rule_files(timing=timing).items():
            (folder / "rules" / name).write_text(text, encoding="utf-8")
        config = yaml.safe_load((generate.HERE / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
        config["global"] = dict.fromkeys(config["global"], timing.scrape)
        (folder / "targets").mkdir()
        (folder / "targets/api.yml").write_text(yaml.safe_dump([{"targets": [f"127.0.0.1:{target}"]}]))
        peers = [f"127.0.0.1:{alertmanager}"] if alertmanager else []
        config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = peers
        config["scrape_configs"] = config["scrape_configs"][:1]
        del config["scrape_configs"][0]["dns_sd_configs"]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        listen = f"--web.listen-address=127.0.0.1:{self.port}"
        self.command = [program("prometheus"), f"--config.file={folder / 'prometheus.yml'}", listen,
                        f"--storage.tsdb.path={folder / 'data'}", "--log.level=warn"]  # fmt: skip
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=20)

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Return the samples of an instant query."""
        answer = self.client.get("/api/v1/query", params={"query": expr})
        assert answer.status_code == 200, (expr, answer.text)
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def value(self, expr: str) -> float | None:
        """Return the only value of a query, or None."""
        found = self.query(expr)
        assert len(found) < 2, (expr, found)
        return float(found[0]["value"][1]) if found else None

    def is_ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self.client.get("/-/ready").status_code == 200
        return False


@contextlib.contextmanager
def process(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends."""
    with log.open("wb") as output:
        env = {"PATH": "/usr/bin:/bin", **environment}
        running = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=env)
        try:
            yield running
        finally:
            running.terminate()
            running.wait(20)


@contextlib.contextmanager
def prometheus(
    folder: Path, target: int, alertmanager: int | None = None, timing: Timing = SHORT
) -> Iterator[Prometheus]:
    """Run a Prometheus that is ready."""
    made = Prometheus(folder, target, alertmanager, timing)
    with process(made.command, folder / "log"):
        wait_for(made.is_ready, "Prometheus' start", 30)
        yield made
        made.client.close()


class Receiver:
    """Receives Alertmanager's messages by webhook."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def alerts(self, status: str, since: int = 0) -> set[tuple[str, str]]:
        """Return alert and feature (or instance) of all messages with this status."""
        found = [each for message in self.heard[since:] for each in message["alerts"] if each["status"] == status]
        return {(each["labels"]["alertname"], each["labels"].get("feature", "")) for each in found}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextlib.contextmanager
def alertmanager(folder: Path, port: int, receiver: Receiver, repository: Path) -> Iterator[None]:
    """Run Alertmanager with the project's start.sh."""
    folder.mkdir()
    environment = {
        "ALERTMANAGER": program("alertmanager"),
        "ALERTMANAGER_CONFIG": str(folder / "alertmanager.yml"),
        "ALERT_WEBHOOK_URL": receiver.url,
        "ALERT_GROUP_WAIT": "1s",
        "ALERT_GROUP_INTERVAL": "2s",
    }
    options = [f"--web.listen-address=127.0.0.1:{port}", f"--storage.path={folder}", "--cluster.listen-address="]
    command = ["sh", str(repository / "monitoring/alertmanager/start.sh"), *options]
    with process(command, folder / "log", **environment):
        wait_for(lambda: _answers(port), "Alertmanager's start", 30)
        yield


def _answers(port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/-/ready", trust_env=False).status_code == 200
    return False


def shares(contract: Contract, name: str, values: npt.NDArray[Any]) -> tuple[list[float], list[float]]:
    """Return live and training shares of a feature's bins, counted independently of the service."""
    (feature,) = (each for each in contract.features if each.name == name)
    if feature.type == "category":
        counts = [int((values == each).sum()) for each in feature.categories]
        counts += [0, len(values) - sum(counts)]
        reference = [*feature.bin_shares, 0.0]
    elif feature.type == "boolean":
        counts, reference = [int((~values).sum()), int(values.sum()), 0], list(feature.bin_shares)
    else:
        numbers = values.astype(np.float32)
        missing = np.isnan(numbers)
        edges = np.array([-np.inf, *np.asarray(feature.bin_edges, np.float32), np.inf])
        counts = [int(((numbers > low) & (numbers <= high)).sum()) for low, high in pairwise(edges)]
        counts.append(int(missing.sum()))
        reference = list(feature.bin_shares)
    return [count / len(values) for count in counts], reference


def psi(live: list[float], reference: list[float], floor: float) -> float:
    """Return the population stability index."""
    actual, expected = (np.maximum(np.array(each), floor) for each in (live, reference))
    return float(((actual - expected) * np.log(actual / expected)).sum())
