"""Projects for tests: this working tree in a new Git repository, with a small table."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from ruamel.yaml import YAML

TABLE = "data/small.csv"
PATIENCE = 600
"""Timeout in seconds for what a started command does, on a busy machine."""
_YAML = YAML()  # keeps the comments


@dataclass(frozen=True)
class Running:
    """A command that runs, and the file that gets what it prints to both outputs."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def lines(self) -> list[str]:
        """The whole lines that it has printed."""
        return [line for line in self.output.read_text("utf-8").splitlines(keepends=True) if line.endswith("\n")]

    def read_until(self, text: str) -> None:
        """Return when a line contains the text; fail the test if the command ends before."""
        self.wait_for(lambda: any(text in line for line in self.lines))

    def wait_for(self, holds: Callable[[], bool]) -> None:
        """Return when something holds; fail the test if the command ends before, or after some minutes."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            if self.process.poll() is not None:
                assert holds(), "".join(self.lines)
                return
            assert time.monotonic() < deadline, "".join(self.lines)
            time.sleep(0.01)

    def finish(self) -> int:
        """Wait for the end; return the exit status."""
        return self.process.wait(PATIENCE)


@dataclass(frozen=True)
class Project:
    """A folder under Git and DVC, and the environment of its commands: an empty home directory, no settings."""

    path: Path
    environment: dict[str, str]

    def run(self, *args: str, timeout: float = 900, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project's root, with `environment` added; it may fail."""
        return subprocess.run(
            args,
            cwd=self.path,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @contextmanager
    def start(self, *args: str, **environment: str) -> Iterator[Running]:
        """Start a command, as `run`, in a process group of its own; kill it if it still runs after the block."""
        output = Path(tempfile.mkdtemp(prefix="output-", dir=self.path.parent)) / "lines"
        with (
            output.open("wb") as file,
            subprocess.Popen(
                args,
                cwd=self.path,
                env=self.environment | environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process,
        ):
            try:
                yield Running(process, output)
            finally:
                process.kill()

    def ok(self, *args: str, timeout: float = 900, **environment: str) -> str:
        """Run a command; fail the test if it fails, and return its standard output."""
        done = self.run(*args, timeout=timeout, **environment)
        assert done.returncode == 0, f"{' '.join(args)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def set(self, **params: Any) -> None:
        """Change ``params.yaml``: values by key; a dictionary changes keys in its section, {} empties it."""
        path = self.path / "params.yaml"
        document = _YAML.load(path.read_text(encoding="utf-8"))
        for key, value in params.items():
            if isinstance(value, dict) and value and document[key] is not None:
                document[key].update(value)
            else:
                document[key] = value
        with path.open("w", encoding="utf-8") as file:
            _YAML.dump(document, file)

    def commit(self, message: str) -> None:
        """Commit all changes."""
        self.ok("git", "add", "--all")
        self.ok("git", "commit", "--quiet", "--allow-empty", "--message", message)

    def clone(self, to: Path) -> "Project":
        """Clone the repository, not its DVC outputs; the clone shares the cache."""
        self.ok("git", "clone", "--quiet", ".", str(to))
        made = Project(to, self.environment)
        made.ok("dvc", "cache", "dir", "--local", str(self.path / ".dvc/cache"))
        return made

    @property
    def client(self) -> MlflowClient:
        """A client of the project's own MLflow store."""
        return MlflowClient(f"sqlite:///{self.path}/mlflow.db")

    def runs(self) -> list[Run]:
        """Return the MLflow runs, the newest first."""
        experiment = self.client.get_experiment_by_name("flights")
        assert experiment
        return list(self.client.search_runs([experiment.experiment_id]))


def small_table(rows: int = 300, seed: int = 0) -> pd.DataFrame:
    """Return numbers `a` and `b` and a category `c`, some missing, and the target `y`: yes or no, by `a` and `c`."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {"a": rng.normal(size=rows).round(4), "b": rng.normal(size=rows).round(4), "c": rng.choice([*"xyz"], rows)}
    )
    signal = table["a"] + (table["c"] == "x") + rng.normal(size=rows)
    table["y"] = np.where(signal > 0.3, "yes", "no")
    table.loc[::17, "b"] = np.nan
    return table


def make_project(base: Path, root: Path, table: pd.DataFrame | None = None, **params: Any) -> Project:
    """Make a project of `root` with 300 rows and 5 trees; `params` are changed as by `Project.set`.

    Without the demo's stage, and without a ``dvc.lock``: nothing has run there yet. Everything is committed.
    """
    made = Project(base / "clone", _environment(base / "home"))
    _copy(root, made.path)
    (small_table() if table is None else table).to_csv(made.path / TABLE, index=False)
    data = {"path": TABLE, "target": "y", "positive": None}
    split = {"method": "random", "time_column": None}
    made.set(data=data, split=split, n_estimators=5, evaluate={"folds": 2}, validate={"suite": None}, features={})
    made.set(register={"name": "flights"})
    stages = (root / "dvc.yaml").read_text(encoding="utf-8")
    (made.path / "dvc.yaml").write_text(re.sub(r"(?m)^  ingest:\n(?:    .*\n)+", "", stages), encoding="utf-8")
    made.set(**params)
    made.ok("git", "init", "--quiet", "--initial-branch=main")
    made.commit("Start")
    return made


def set_up_make(project: Project) -> None:
    """Let `make` find the environment that runs the tests, instead of installing one."""
    (project.path / ".venv").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (project.path / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    for name in (".service", ".pipeline"):
        (project.path / ".venv" / name).touch()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Callable[..., Project]:
    """Return a function that makes a project, as `make_project`."""
    return lambda table=None, **params: make_project(tmp_path_factory.mktemp("project"), root, table, **params)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Callable[[], Project]:
    """Return a function that copies a project with two commits of results: 5 trees, then 9.

    Each is registered, nothing is released. All test processes share one run of the pipeline.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "done").exists():
            made = make_project(shared, root, data={"strict": ["a", "c"]}, register={"tolerance": 1.0})
            for trees in (5, 9):
                made.set(n_estimators=trees)
                made.ok("dvc", "repro")
                made.commit(f"{trees} trees")
            (shared / "done").touch()

    def copy() -> Project:
        base = tmp_path_factory.mktemp("project")
        shutil.copytree(shared / "clone", base / "clone", symlinks=True)
        return Project(base / "clone", _environment(base / "home"))

    return copy


def _environment(home: Path) -> dict[str, str]:
    home.mkdir()
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    # MLflow in this process may have set the URI of another project's store.
    inherited = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return inherited | {"HOME": str(home), "DVC_SITE_CACHE_DIR": str(home / "site"), "PATH": programs}


def _copy(root: Path, to: Path) -> None:
    """Copy all files of the working tree that Git doesn't ignore."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if name != "dvc.lock" and (root / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, to / name)
