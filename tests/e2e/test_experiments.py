"""Experiments as you type them, queued and in a sweep; each has one MLflow run."""

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

import pytest
from mlflow.entities import Run

from tests.e2e.conftest import Project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.xdist_group("experiments"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]
PATIENCE = 600
"""Timeout in seconds for two queued experiments on a busy machine."""


@pytest.fixture(scope="module")
def fresh(trained: Callable[[], Project]) -> Iterator[Project]:
    """Return a fresh clone in which a queue of two ran first: both begin the MLflow store at once."""
    committed = trained()
    made = committed.clone(committed.path.parent / "fresh")
    made.ok("dvc", "exp", "run", "--queue", "-S", "n_estimators=5,10", "register")
    try:
        start_queue(made)
        yield made
    finally:
        end_workers(made)


def start_queue(project: Project) -> None:
    """Start two workers and wait until two experiments are done.

    A worker takes an experiment from the queue some seconds before DVC calls it running, so "nothing is
    queued or running" doesn't mean that all are done. DVC writes an experiment's state in place, so a status
    asked at that moment fails on half a file: the next question decides.
    """
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
    while len(re.findall("Success|Failed", (status := project.run("dvc", "queue", "status")).stdout)) < 2:
        assert time.monotonic() < deadline, f"{status.stdout}\n{status.stderr}"
        time.sleep(3)  # the question takes a second of the processor


def end_workers(project: Project) -> None:
    """Stop the workers, which would wait a minute for more."""
    for file in (project.path / ".dvc/tmp/exps/celery").glob("*.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(file.read_text(encoding="utf-8")), signal.SIGTERM)


def runs(project: Project) -> dict[str, Run]:
    """Return the runs in the one store of the real root, by the DVC experiment's name."""
    found = project.runs()
    names = [run.data.tags["DVC_EXP_NAME"] for run in found]
    assert len(names) == len(set(names)), "more than one run for an experiment"
    return dict(zip(names, found, strict=True))


def shown(project: Project) -> dict[str, dict[str, Any]]:
    """Return what `dvc exp show` has, by experiment."""
    table = csv.DictReader(io.StringIO(project.ok("dvc", "exp", "show", "--csv")))
    return {row["Experiment"]: row for row in table if row["Experiment"]}


def test_a_queue_with_two_workers_finishes_on_a_fresh_clone(fresh: Project) -> None:
    status, found = fresh.ok("dvc", "queue", "status"), list(runs(fresh).values())
    artifacts = [Path(run.info.artifact_uri.removeprefix("file://")) for run in found]

    assert status.count("Success") == 2, status
    assert {run.data.params["n_estimators"] for run in found} == {"5", "10"}
    assert not list((fresh.path / ".dvc/tmp/exps").glob("**/mlflow.db"))
    assert all(each.is_relative_to(fresh.path / "mlartifacts") for each in artifacts)


def test_every_run_has_the_metrics_of_metrics_json_and_latencies(fresh: Project) -> None:
    rows = shown(fresh)
    for name, run in runs(fresh).items():
        assert run.data.metrics["roc_auc"] == pytest.approx(float(rows[name]["roc_auc"]), abs=1e-4)
        assert {"accuracy", "baseline_roc_auc", "predict_one_row_p99_seconds"} <= set(run.data.metrics)
        assert run.info.status == "FINISHED"


def test_a_sweep_runs_every_combination_and_reports_what_failed(fresh: Project) -> None:
    known = len(runs(fresh))
    done = fresh.run("python", "-m", "stages.commands.sweep", "register.tolerance=0.9,-1")

    assert done.returncode == 1
    assert "1 of 2 failed: register.tolerance=-1" in done.stderr.splitlines()[-1]
    assert re.search(r"cv_roc_auc +roc_auc +register.tolerance", done.stdout)
    areas = re.findall(r"\] +[-\d]+ [:\d]+ +(0\.\d+)", done.stdout)
    assert len(areas) >= 2
    assert areas == sorted(areas, reverse=True)
    assert len(runs(fresh)) == known + 1


def test_experiments_are_listed_in_at_most_12_columns_the_best_by_cross_validation_first(fresh: Project) -> None:
    header, *lines = fresh.ok("python", "-m", "stages.commands.experiments").splitlines()
    names, rows = header.split(), [re.split(r"  +", line.strip()) for line in lines if re.search(r"\[.*\]", line)]

    assert len(names) <= 12
    assert {"Experiment", "cv_roc_auc", "roc_auc", "n_estimators"} <= set(names)
    assert {row[names.index("n_estimators") - len(names)] for row in rows} >= {"5", "10"}
    areas = [float(row[names.index("cv_roc_auc") - len(names)].split()[0]) for row in rows]
    assert areas == sorted(areas, reverse=True)


def test_no_experiment_releases_anything_or_moves_an_alias(fresh: Project) -> None:
    (registered,) = fresh.client.search_registered_models()

    assert not (fresh.path / "models/releases").exists()
    assert dict(registered.aliases) == {}
    assert not [key for key in registered.tags if key.startswith("alias.moved.")]
