"""`make search` and `make sweep` on a Dask cluster: what one machine finds, also after a worker is killed."""

import csv
import io
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.dask_cluster import Cluster, running_cluster
from tests.e2e.conftest import Project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]


@pytest.fixture
def cluster(root: Path, tmp_path: Path) -> Iterator[Cluster]:
    """Return a cluster with two workers."""
    with running_cluster(root, tmp_path) as made:
        yield made


def trials(project: Project) -> list[tuple[Any, ...]]:
    """Return the settings, the state and the scores of each trial; remove the study."""
    (file,) = (project.path / "build/search").glob("*.log")
    study = optuna.load_study(study_name=file.stem, storage=JournalStorage(JournalFileBackend(str(file))))
    found = [(trial.params, trial.state.name, trial.intermediate_values, trial.value) for trial in study.trials]
    file.unlink()
    return found


@pytest.mark.long
def test_a_search_finds_the_same_as_on_one_machine_though_a_worker_is_killed(
    project: Callable[..., Project], cluster: Cluster
) -> None:
    made = project(evaluate={"folds": 3})
    command = [sys.executable, "-m", "stages.commands.search", "--trials", "9", "--jobs", "2"]
    made.ok("dvc", "repro", "prepare")
    made.commit("Prepare the rows")
    made.ok(*command)
    expected = trials(made)
    with made.start(*command, "--scheduler", cluster.address) as search:
        search.read_until("trial 2:")
        cluster.workers[0].kill()
        status = search.finish()
    assert status == 0, search.lines
    assert trials(made) == expected


def shown(project: Project) -> dict[str, dict[str, Any]]:
    """Return what `dvc exp show` has, by experiment."""
    table = csv.DictReader(io.StringIO(project.ok("dvc", "exp", "show", "--csv")))
    return {row["Experiment"]: row for row in table if row["Experiment"].startswith("sweep-")}


@pytest.mark.long
def test_a_sweep_brings_experiments_though_one_fails_and_a_worker_is_killed(
    trained: Callable[[], Project], cluster: Cluster
) -> None:
    made = trained()
    made.ok("dvc", "exp", "run", "--temp", "--name", "sweep-here", "--set-param", "n_estimators=7")
    command = [sys.executable, "-m", "stages.commands.sweep", "n_estimators=6,7,0", "--scheduler", cluster.address]
    with made.start(*command) as sweep:
        sweep.wait_for(lambda: any(cluster.folder.glob("**/clone-*/models/model.joblib")))
        cluster.workers[0].kill()
        status = sweep.finish()
    found = {row["n_estimators"]: row for row in shown(made).values() if row["Experiment"] != "sweep-here"}
    here = shown(made)["sweep-here"]

    assert status == 1
    assert "1 of 3 failed: n_estimators=0" in sweep.lines[-1]
    assert set(found) == {"6", "7"}
    assert [found["7"][name] for name in ("roc_auc", "cv_roc_auc")] == [
        here[name] for name in ("roc_auc", "cv_roc_auc")
    ]
    made.ok("dvc", "exp", "apply", found["6"]["Experiment"])
    assert "up to date" in made.ok("dvc", "status", "evaluate")
    wait_until(lambda: not list(cluster.folder.glob("**/clone-*")))


def test_a_sweep_of_changed_files_is_refused(trained: Callable[[], Project]) -> None:
    made = trained()
    made.set(n_estimators=6)
    done = made.run(sys.executable, "-m", "stages.commands.sweep", "max_depth=3", "--scheduler", "tcp://127.0.0.1:9")

    assert done.returncode == 1
    assert "tracked files differ from it; run `git commit` first" in done.stderr


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
