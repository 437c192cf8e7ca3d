"""Experiments as you type them: queued, in the workspace, in temporary copies, in a sweep; each has one MLflow run."""

import contextlib
import csv
import io
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from tests.e2e.conftest import Project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("experiments"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]
PATIENCE = 600
"""Timeout in seconds for two queued experiments on a busy machine."""


@pytest.fixture(scope="module")
def fresh(project: Callable[..., Project]) -> Iterator[Project]:
    """Return a fresh clone in which a queue of two ran first: both begin the MLflow store at once."""
    made = project()
    made.ok("dvc", "exp", "run", "--queue", "-S", "n_estimators=5,10", "register")
    try:
        start_queue(made)
        yield made
    finally:
        end_workers(made)


def start_queue(project: Project) -> None:
    """Start two workers and wait until nothing is queued or running."""
    # Workers outlive this command and would hold its pipes open.
    command = ["dvc", "queue", "start", "-j", "2"]
    subprocess.run(
        command,
        cwd=project.path,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    deadline = time.monotonic() + PATIENCE
    while any(state in project.ok("dvc", "queue", "status") for state in ("Queued", "Running")):
        assert time.monotonic() < deadline, project.ok("dvc", "queue", "status")
        time.sleep(1)


def end_workers(project: Project) -> None:
    """Stop the workers, which would wait a minute for more."""
    for file in (project.path / ".dvc/tmp/exps/celery").glob("*.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(file.read_text(encoding="utf-8")), signal.SIGTERM)


def runs(project: Project) -> dict[str, Run]:
    """Return the runs in the one store of the real root, by the DVC experiment's name."""
    mlflow.set_tracking_uri(f"sqlite:///{project.path}/mlflow.db")
    experiment = mlflow.get_experiment_by_name("flights")
    assert experiment
    found = MlflowClient().search_runs([experiment.experiment_id])
    names = [run.data.tags["DVC_EXP_NAME"] for run in found]
    assert len(names) == len(set(names)), "more than one run for an experiment"
    return dict(zip(names, found, strict=True))


def shown(project: Project) -> dict[str, dict[str, Any]]:
    """Return what `dvc exp show` has, by experiment."""
    table = csv.DictReader(io.StringIO(project.ok("dvc", "exp", "show", "--csv")))
    return {row["Experiment"]: row for row in table if row["Experiment"]}


def test_a_queue_with_two_workers_finishes_on_a_fresh_clone(fresh: Project) -> None:
    status = fresh.ok("dvc", "queue", "status")

    assert status.count("Success") == 2, status
    assert {run.data.params["n_estimators"] for run in runs(fresh).values()} >= {"5", "10"}


def test_an_experiment_in_the_workspace_has_one_run(fresh: Project) -> None:
    fresh.ok("dvc", "exp", "run", "-n", "in-workspace", "-S", "n_estimators=10", "register")
    run = runs(fresh)["in-workspace"]
    lock = (fresh.path / "dvc.lock").read_text(encoding="utf-8")

    assert run.data.params["n_estimators"] == "10"
    assert run.data.tags["git.revision"] == fresh.ok("git", "rev-parse", "HEAD").strip()
    assert run.data.tags["dvc.md5"] in lock
    assert run.data.tags["dvc.data_md5"] in lock
    assert "n_estimators" in fresh.ok("dvc", "params", "diff", "HEAD")
    assert "roc_auc" in fresh.ok("dvc", "metrics", "diff", "HEAD")


def test_the_same_model_in_another_experiment_has_its_own_run_in_the_real_root(fresh: Project) -> None:
    lenient = ["-S", "register.tolerance=0.9", "-S", "n_estimators=5"]
    fresh.ok("dvc", "exp", "run", "--temp", "-n", "lenient", *lenient, "register")
    known = runs(fresh)
    run = known.pop("lenient")
    first = next(each for each in known.values() if each.data.params["n_estimators"] == "5")

    assert run.data.tags["dvc.md5"] == first.data.tags["dvc.md5"]
    assert run.data.metrics["roc_auc"] == first.data.metrics["roc_auc"]
    assert run.info.run_name == "lenient"
    assert not list((fresh.path / ".dvc/tmp/exps").glob("**/mlflow.db"))
    assert Path(run.info.artifact_uri.removeprefix("file://")).is_relative_to(fresh.path / "mlartifacts")


def test_every_run_has_the_metrics_of_metrics_json_and_latencies(fresh: Project) -> None:
    rows = shown(fresh)
    for name, run in runs(fresh).items():
        assert run.data.metrics["roc_auc"] == pytest.approx(float(rows[name]["roc_auc"]), abs=1e-4)
        assert {"accuracy", "baseline_roc_auc", "predict_one_row_p99_seconds"} <= set(run.data.metrics)
        assert run.info.status == "FINISHED"


def test_a_sweep_runs_every_combination_and_reports_what_failed(fresh: Project) -> None:
    done = fresh.run("python", "-m", "stages.commands.sweep", "n_estimators=7,0")

    assert done.returncode == 1
    assert "1 of 2 failed: n_estimators=0" in done.stderr.splitlines()[-1]
    assert re.search(r"cv_roc_auc +cv_roc_auc_std +n_estimators", done.stdout)
    areas = re.findall(r"\] +(0\.\d+) +0\.\d+ +\d+", done.stdout)
    assert len(areas) >= 2
    assert areas == sorted(areas, reverse=True)
    assert "7" in {run.data.params["n_estimators"] for run in runs(fresh).values()}


def test_a_failed_experiment_says_what_restores_the_workspace(fresh: Project) -> None:
    fresh.commit("What the experiments before left")
    before = fresh.ok("dvc", "status")
    done = fresh.run("dvc", "exp", "run", "-S", "random_state=1", "-S", "n_estimators=0")
    changed = fresh.ok("git", "status", "--short")
    fresh.ok("sh", "-c", done.stderr.partition("in the workspace; `")[2].partition("`")[0])

    assert (done.returncode != 0, bool(changed)) == (True, True)
    assert not fresh.ok("git", "status", "--short")
    assert fresh.ok("dvc", "status") == before


def test_no_experiment_releases_anything_or_moves_an_alias(fresh: Project) -> None:
    (registered,) = MlflowClient(f"sqlite:///{fresh.path}/mlflow.db").search_registered_models()

    assert not (fresh.path / "models/releases").exists()
    assert dict(registered.aliases) == {}
    assert not [key for key in registered.tags if key.startswith("alias.moved.")]
