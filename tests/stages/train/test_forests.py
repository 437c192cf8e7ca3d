"""Forests on a Dask cluster: the same bytes, the work on the workers, and no end without a clear line."""

import hashlib
import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from service.contract import Contract
from stages import files
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.train import __main__ as train
from stages.train import forests
from tests.dask_cluster import Cluster, running_cluster
from tests.e2e.conftest import Project, project, small_table

__all__ = ["project"]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("forests")]


@pytest.fixture(scope="module")
def cluster(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return a cluster with one worker."""
    with running_cluster(root, tmp_path_factory.mktemp("dask"), 1) as made:
        yield made


def fit(rows: pd.DataFrame, contract: Contract, wanted: Params) -> Pipeline:
    with forests.spreading(wanted.model):
        return train.train(rows, contract, wanted)


def md5(pipeline: Pipeline) -> str:
    joblib.dump(pipeline, file := io.BytesIO(), compress=3)
    return hashlib.md5(file.getvalue(), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("model", ["random_forest", "extra_trees"])
def test_the_bytes_are_those_of_one_machine_and_the_work_is_on_the_workers(
    table: pd.DataFrame,
    params: Callable[..., Params],
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
) -> None:
    many = pd.concat([table] * 100, ignore_index=True)
    many["le"] += np.random.default_rng(0).normal(size=len(many))
    many["y"] = many["le"] * 1e20 if model == "extra_trees" else many["y"]
    wanted = params(model=model, n_estimators=16)
    rows, _, schema = prepare.prepare(many, wanted)
    expected = md5(fit(rows, schema.contract, wanted))

    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.address)
    one = md5(fit(rows, schema.contract, wanted))
    cluster.add_worker()
    here, there = time.process_time(), cluster.worker_seconds()
    two = md5(fit(rows, schema.contract, wanted))
    here, there = time.process_time() - here, cluster.worker_seconds() - there

    assert one == two == expected
    assert there > here  # of a larger fit much more: docs/how-to/cluster.md


@pytest.fixture(scope="module")
def prepared(project: Callable[..., Project]) -> tuple[Project, str]:
    """Return a project whose forest takes some seconds, and the MD5 of its model when fitted on one machine."""
    made = project(small_table(6_000), model="random_forest", n_estimators=60, evaluate={"folds": 0})
    made.ok("dvc", "repro", "prepare")
    made.ok(sys.executable, "-m", "stages.train")
    return made, files.md5(made.path / files.MODEL)


def train_until(
    project: Project, cluster: Cluster, interrupt: Callable[[subprocess.Popen[bytes]], None]
) -> tuple[int, str, float]:
    """Train on the cluster, interrupt once workers fit trees; return status, output and the seconds since then."""
    with project.start(sys.executable, "-m", "stages.train", DASK_SCHEDULER_ADDRESS=cluster.address) as training:
        training.read_until("fitting random_forest")
        before = cluster.worker_seconds()
        training.wait_for(lambda: cluster.worker_seconds() > before + 0.5)
        interrupt(training.process)
        begin = time.monotonic()
        status = training.finish()
    return status, "".join(training.lines), time.monotonic() - begin


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_after_a_worker_is_killed_or_frozen_the_bytes_are_the_same(
    prepared: tuple[Project, str], root: Path, tmp_path: Path, number: signal.Signals
) -> None:
    made, expected = prepared
    (made.path / files.MODEL).unlink()
    with running_cluster(root, tmp_path, DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="10s") as cluster:
        status, output, _ = train_until(made, cluster, lambda _: cluster.workers[0].send_signal(number))

    assert status == 0, output
    assert files.md5(made.path / files.MODEL) == expected


@pytest.mark.long
def test_after_the_command_is_killed_the_next_run_on_the_cluster_gives_the_same_bytes(
    prepared: tuple[Project, str], root: Path, tmp_path: Path
) -> None:
    made, expected = prepared
    (made.path / files.MODEL).write_bytes(b"the model before")
    with running_cluster(root, tmp_path) as cluster:
        train_until(made, cluster, lambda process: process.kill())
        left = [each.read_bytes() for each in (made.path / files.MODEL).parent.glob("*.joblib*")]
        made.ok(sys.executable, "-m", "stages.train", DASK_SCHEDULER_ADDRESS=cluster.address)

    assert left == [b"the model before"]
    assert files.md5(made.path / files.MODEL) == expected


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_after_the_scheduler_is_killed_or_frozen_the_stage_ends_in_one_line_and_the_model_stays(
    prepared: tuple[Project, str], root: Path, tmp_path: Path, number: signal.Signals
) -> None:
    made, _ = prepared
    (made.path / files.MODEL).write_bytes(b"the model before")
    with running_cluster(root, tmp_path) as cluster:
        status, output, seconds = train_until(made, cluster, lambda _: cluster.scheduler.send_signal(number))

    assert status == 1
    assert seconds < 30
    assert f"train: error: {cluster.address}: the Dask scheduler " in output.splitlines()[-1]
    assert "Traceback" not in output
    assert [each.read_bytes() for each in (made.path / files.MODEL).parent.glob("*.joblib*")] == [b"the model before"]


def test_a_model_that_is_fitted_on_one_machine_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:9")
    caplog.set_level("INFO", "stages")
    with forests.spreading("lightgbm"):
        pass

    assert caplog.messages == [
        "lightgbm is fitted on this machine; only random_forest and extra_trees are fitted on a cluster"
    ]
