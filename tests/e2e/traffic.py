"""Clients that predict all the time, and record which version answered what."""

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from service import model
from service.scoring.serving import shortest
from tests.e2e.conftest import small_table
from tests.service.processes import Service

CLIENTS = 2
Answer = tuple[tuple[float, ...], ...]


def rows() -> list[dict[str, Any]]:
    """Return rows within training's ranges, whichever rows were training rows."""
    table = small_table().dropna().query("a.abs() < 1 and b.abs() < 1").head(12)
    return [dict(row) for _, row in table.drop(columns="y").iterrows()]


BODY = json.dumps({"instances": rows()}).encode()


def predicted(path: Path) -> tuple[str, Answer]:
    """Return the predictions of the file itself, without the service, and its version."""
    loaded = model.load(path)
    columns = {feature.name: [row[feature.name] for row in rows()] for feature in loaded.contract.features}
    scores = loaded.scores(loaded.contract.encode(columns))
    return loaded.version, tuple(map(tuple, shortest(scores)))


@dataclass
class Traffic:
    """Clients that predict the same rows repeatedly, each on its own connection."""

    service: Service
    answers: dict[str, set[Answer]] = field(default_factory=dict)
    """The answers, by the version in them."""
    newest: dict[str, float] = field(default_factory=dict)
    """When each version last answered, by the monotonic clock."""
    failed: list[str] = field(default_factory=list)
    _stopping: bool = False
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self._threads = [threading.Thread(target=self._predict) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping = True
        for thread in self._threads:
            thread.join()

    def _predict(self) -> None:
        headers = {**self.service.client.headers, "Content-Type": "application/json"}
        while not self._stopping:
            with httpx.Client(base_url=self.service.client.base_url, headers=headers, trust_env=False) as client:
                for _ in range(20):  # and then another connection, perhaps another worker
                    began = time.monotonic()
                    self._note(client.post("/predict", content=BODY), began)
                    time.sleep(0.1)  # the pipeline needs the processor as well

    def _note(self, response: httpx.Response, began: float) -> None:
        if response.status_code != 200:
            self.failed.append(response.text)
            return
        answer = response.json()
        version = answer["model"]["version"]
        probabilities = tuple(tuple(each.values()) for each in answer["probabilities"])
        self.answers.setdefault(version, set()).add(probabilities)
        self.newest[version] = began
