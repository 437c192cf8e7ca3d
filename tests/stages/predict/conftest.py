"""Tables to score, and the service that answers for the same model."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from service import model
from stages.predict.__main__ import main
from tests.service.api.conftest import make_artifact, serve
from tests.service.artifacts import Root, with_coverage
from tests.stages.predict.running import FILES, ROWS, Scoring

__all__ = ["make_artifact", "serve"]


@pytest.fixture(scope="session")
def live(make_artifact: Any, serve: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return the address of a service whose model has explanations and coverage, a token, and its release."""
    plain, folder = make_artifact(), tmp_path_factory.mktemp("live")
    released = Root(folder)
    released.write(with_coverage(plain.root.model), b'{"threshold": 0.5}', name="shop")
    artifact = type(plain)(released, model.load(released.model))
    with serve(artifact, folder) as (address, app):
        access = app.state.access
        yield address, access.tokens.issue("anna", ["predict"], access.watch.known.revision + 1)[0], artifact


@pytest.fixture
def rows() -> pd.DataFrame:
    """Return rows for the model of the service's tests: an identifier, missing values, unseen ones, the target."""
    return make_rows()


def make_rows() -> pd.DataFrame:
    rng, count = np.random.default_rng(1), 500
    table = pd.DataFrame(
        {
            "id": [f"{number:03}" for number in range(count)],
            "size": rng.normal(size=count) * 2,
            "a b": rng.normal(size=count) * 1e3,
            "shop": rng.choice(["é", "x|y", "<script>", 'new, and "quoted"'], count),
            "kind": rng.choice(["one", "two"], count),
            "flag": rng.random(count) > 0.5,
            "when": pd.date_range("2020-01-01", periods=count, freq="61h7min3s").astype("datetime64[us]"),
            "y": "да",
        }
    )
    table.loc[::5, "a b"] = np.nan
    table.loc[::7, "shop"] = None
    table.loc[::11, "when"] = pd.NaT
    return table


@pytest.fixture
def predict(live: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return the command, with the release that the service serves."""
    monkeypatch.setenv("RELEASES", str(live[2].root.releases))
    # The command's handler of SIGTERM would outlive the test.
    monkeypatch.setattr("signal.signal", lambda *_: None)
    defaults = {"workers": 1, "scheduler": None, "explain": False, "coverage": None, "keep": None, "errors": None}
    return lambda source, target, **options: main(**defaults | {"input": str(source), "output": str(target)} | options)


@pytest.fixture
def ask(live: Any) -> Callable[..., httpx.Response]:
    """Return a function that sends POST /predict to the running service."""
    address, token, _ = live
    headers = {"Authorization": f"Bearer {token}"}

    def ask(content: Any, kind: str = "application/json", query: str = "") -> httpx.Response:
        sent = headers | {"Content-Type": kind}
        answer = httpx.post(f"http://{address}/predict{query}", content=content, headers=sent, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer

    return ask


@pytest.fixture
def csv(tmp_path: Path, rows: pd.DataFrame) -> Path:
    """Return the rows as a CSV file."""
    path = tmp_path / "rows.csv"
    rows.to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with many files, so that the command can be stopped in the middle."""
    folder, rows = tmp_path_factory.mktemp("tables"), make_rows()
    table = pd.concat([rows] * (ROWS // len(rows)), ignore_index=True)
    for number in range(FILES):
        table.assign(size=table["size"] + number / 100).to_parquet(folder / f"{number:02}.parquet")
    return folder


@pytest.fixture
def scoring(tables: Path, live: Any, root: Path, tmp_path: Path) -> Iterator[Scoring]:
    """Return the command; at the end it is killed if it still runs."""
    made = Scoring(tmp_path, root, os.environ | {"RELEASES": str(live[2].root.releases)}, str(tables))
    yield made
    for process in made.started:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def expected(tables: Path, live: Any, root: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the MD5 of the answers from one process, as CSV."""
    environment = os.environ | {"RELEASES": str(live[2].root.releases)}
    made = Scoring(tmp_path_factory.mktemp("one"), root, environment, str(tables))
    done = made.run()
    assert done.returncode == 0, done.stderr
    return made.md5()
