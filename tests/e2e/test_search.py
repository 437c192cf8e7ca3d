"""`make search` as you type it: on the training rows alone, repeatable, resumable, its best trials as experiments."""

import csv
import io
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.e2e.conftest import Project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.xdist_group("search"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]
SEARCH = ("python", "-m", "stages.commands.search")
TRIALS = 8


@pytest.fixture(scope="module")
def searched(project: Callable[..., Project]) -> tuple[Project, subprocess.CompletedProcess[str]]:
    """Return a project with a finished search, and how it ended; its test rows were damaged, Git knew no author."""
    made = project(evaluate={"folds": 3})
    made.ok("dvc", "repro", "prepare")
    made.commit("Prepare the rows")
    test_rows = made.path / "data/prepared/test.parquet"
    content = test_rows.read_bytes()
    replace(test_rows, b"x" * len(content))
    author = [f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
    done = made.run("env", *(f"--unset={name}" for name in author), *SEARCH, "--trials", str(TRIALS))
    assert test_rows.read_bytes().startswith(b"xxxx")
    replace(test_rows, content)
    assert not made.ok("git", "status", "--short")
    return made, done


def replace(path: Path, content: bytes) -> None:
    """Replace a file's content with as many other bytes, which DVC does not notice."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def trials(project: Project) -> list[tuple[Any, ...]]:
    """Return the settings, the state and the scores of each trial in the project's one study."""
    (file,) = (project.path / "build/search").glob("*.log")
    study = optuna.load_study(study_name=file.stem, storage=JournalStorage(JournalFileBackend(str(file))))
    return [(trial.params, trial.state.name, trial.intermediate_values, trial.value) for trial in study.trials]


def shown(project: Project) -> dict[str, dict[str, Any]]:
    """Return what `dvc exp show` has, by experiment."""
    table = csv.DictReader(io.StringIO(project.ok("dvc", "exp", "show", "--csv")))
    return {row["Experiment"]: row for row in table if row["Experiment"].startswith("trial-")}


def test_the_test_rows_are_not_read_to_choose(searched: tuple[Project, subprocess.CompletedProcess[str]]) -> None:
    made, done = searched

    assert done.returncode == 0, done.stderr
    assert len(trials(made)) == TRIALS


def test_the_best_five_are_experiments_and_only_the_best_has_test_metrics(
    searched: tuple[Project, subprocess.CompletedProcess[str]],
) -> None:
    made, done = searched
    rows = shown(made)
    best = re.findall(r"dvc exp apply (\S+)", done.stderr)[-1]
    scores = {name: float(row["cv_roc_auc"]) for name, row in rows.items()}

    assert len(rows) == 5
    assert [name for name, row in rows.items() if row["roc_auc"]] == [best]
    assert scores[best] == max(scores.values())
    assert sorted(scores.values(), reverse=True) == pytest.approx(
        [float(value) for value in re.findall(r"^trial-\S+ +(0\.\d+)", done.stdout, re.MULTILINE)], abs=1e-4
    )


def test_an_applied_experiment_reproduces_its_cross_validated_score(
    searched: tuple[Project, subprocess.CompletedProcess[str]],
) -> None:
    made, done = searched
    best = re.findall(r"dvc exp apply (\S+)", done.stderr)[-1]
    other = next(name for name in shown(made) if name != best)
    made.ok("dvc", "exp", "apply", best)
    status = made.ok("dvc", "status", "evaluate")
    made.ok("dvc", "exp", "apply", other)
    expected = json.loads((made.path / "metrics/metrics.json").read_text("utf-8"))
    made.ok("dvc", "repro", "evaluate")
    found = json.loads((made.path / "metrics/metrics.json").read_text("utf-8"))
    made.ok("git", "checkout", "--force", "HEAD")

    assert "up to date" in status
    assert set(expected) == {"cv_roc_auc", "cv_roc_auc_std", "cv_folds"}
    assert {name: found[name] for name in expected} == expected


def test_each_trial_is_a_run_below_the_search(searched: tuple[Project, subprocess.CompletedProcess[str]]) -> None:
    made, _ = searched
    runs = [run for run in made.runs() if "search.study" in run.data.tags]
    (parent,) = [run for run in runs if run.data.tags["search.trial"] == "-"]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    values = [value for _, state, _, value in trials(made) if state == "COMPLETE"]

    assert len(children) == TRIALS
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["cv_roc_auc"] == max(values)
    assert sorted(run.data.metrics["cv_roc_auc"] for run in children if run.info.status == "FINISHED") == sorted(values)
    assert all("learning_rate" in run.data.params for run in children)


def test_a_plot_is_written(searched: tuple[Project, subprocess.CompletedProcess[str]]) -> None:
    made, _ = searched
    (plot,) = (made.path / "build/search").glob("*.svg")

    assert "importance" in plot.read_text("utf-8")


def test_a_killed_search_goes_on_and_finds_the_same(
    searched: tuple[Project, subprocess.CompletedProcess[str]], project: Callable[..., Project]
) -> None:
    made = project(evaluate={"folds": 3})
    made.ok("dvc", "repro", "prepare")
    made.commit("Prepare the rows")
    end_at(made, "trial 6:", signal.SIGKILL)
    done = made.run(*SEARCH, "--trials", str(TRIALS))

    assert done.returncode == 0, done.stderr
    assert f"of {TRIALS} trials are done" in done.stderr
    assert trials(made) == trials(searched[0])


def test_an_interrupt_ends_two_processes_in_one_line(
    searched: tuple[Project, subprocess.CompletedProcess[str]],
) -> None:
    made, _ = searched
    made.set(search={"max_depth": [2, 3, 4], "learning_rate": {"low": 0.01, "high": 1, "log": True}})
    known = set((made.path / "build/search").iterdir())
    status, lines = end_at(made, "trial 1:", signal.SIGINT, "--jobs", "2")
    made.ok("git", "checkout", "params.yaml")
    for path in set((made.path / "build/search").iterdir()) - known:
        path.unlink()

    assert status == 130, lines
    assert re.search(
        r"stopped; \d+ trials are done, best trial \d+: cv_roc_auc 0\.\d+; .*the same command goes on", lines[-1]
    )
    assert "Traceback" not in "".join(lines)


def end_at(project: Project, text: str, number: signal.Signals, *options: str) -> tuple[int, list[str]]:
    """Start a search, send it a signal once it prints `text`; return its exit status and its lines."""
    with project.start(*SEARCH, "--trials", str(TRIALS), *options) as search:
        search.read_until(text)
        search.process.send_signal(number)
        status = search.finish()
    return status, search.lines
