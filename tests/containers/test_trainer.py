"""The trainer's entry point, with real Git and folders in place of volumes."""

import os
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from tests.containers.conftest import load_script
from tests.service.processes import wait_for


@pytest.fixture(scope="session")
def trainer(root: Path) -> ModuleType:
    return load_script(root / "deploy/images/trainer.py")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a checkout like the one in an image: one commit, no index, no configuration."""
    made = tmp_path / "src"
    made.mkdir()
    (made / "params.yaml").write_text("n: 1\n", encoding="utf-8")
    (made / "old.txt").write_text("old\n", encoding="utf-8")
    git(made, "init", "--quiet", "--initial-branch=main")
    commit(made, "First")
    return made


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    made = tmp_path / "workspace"
    (made / ".git").mkdir(parents=True)
    return made


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)


def put_on_path(program: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a shell script and put it first on PATH."""
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_signals_mean_the_same_before_and_after_a_command(trainer: ModuleType, tmp_path: Path) -> None:
    numbers = signal.SIGTERM, signal.SIGINT
    before = [signal.getsignal(number) for number in numbers]

    assert trainer.run(["false"], tmp_path) == 1
    assert [signal.getsignal(number) for number in numbers] == before


def test_an_empty_workspace_becomes_a_clean_checkout(trainer: ModuleType, source: Path, workspace: Path) -> None:
    trainer.follow(source, workspace)

    assert git(workspace, "status", "--porcelain") == ""
    assert git(workspace, "rev-parse", "HEAD") == git(source, "rev-parse", "HEAD")


def test_uncommitted_changes_on_the_host_are_copied(trainer: ModuleType, source: Path, workspace: Path) -> None:
    (source / "params.yaml").write_text("n: 2\n", encoding="utf-8")
    (source / "new.txt").write_text("new\n", encoding="utf-8")
    (source / "old.txt").unlink()
    trainer.follow(source, workspace)

    assert git(workspace, "status", "--porcelain").splitlines() == [" D old.txt", " M params.yaml", "?? new.txt"]


def test_the_same_image_changes_nothing_unless_the_start_was_interrupted(
    trainer: ModuleType, source: Path, workspace: Path
) -> None:
    trainer.follow(source, workspace)
    (workspace / "params.yaml").write_text("n: 200\n", encoding="utf-8")
    trainer.follow(source, workspace)
    assert (workspace / "params.yaml").read_text("utf-8") == "n: 200\n"

    (workspace / ".git/image-state").unlink()
    trainer.follow(source, workspace)
    assert git(workspace, "status", "--porcelain") == ""


def test_a_new_image_replaces_the_files_and_keeps_changes_in_a_stash(
    trainer: ModuleType, source: Path, workspace: Path
) -> None:
    trainer.follow(source, workspace)
    (workspace / "params.yaml").write_text("n: 200\n", encoding="utf-8")
    (workspace / "models").mkdir()
    (source / "old.txt").unlink()
    commit(source, "Second")
    trainer.follow(source, workspace)

    assert (workspace / "params.yaml").read_text("utf-8") == "n: 1\n"
    assert not (workspace / "old.txt").exists()
    assert (workspace / "models").is_dir()
    assert "+n: 200" in git(workspace, "stash", "show", "--patch")


def test_commits_in_the_workspace_are_kept_in_a_branch(trainer: ModuleType, source: Path, workspace: Path) -> None:
    trainer.follow(source, workspace)
    (workspace / "params.yaml").write_text("n: 200\n", encoding="utf-8")
    commit(workspace, "Result")
    mine = git(workspace, "rev-parse", "HEAD")
    (source / "old.txt").write_text("newer\n", encoding="utf-8")
    commit(source, "Second")
    trainer.follow(source, workspace)

    assert git(workspace, "rev-parse", f"kept-{mine[:7]}") == mine


def test_an_image_without_history_gets_a_first_commit(trainer: ModuleType, source: Path, workspace: Path) -> None:
    (source / ".git").rename(source.parent / "gone")
    trainer.follow(source, workspace)

    assert git(workspace, "log", "--format=%s").strip() == "The files of the image"


def test_a_second_trainer_waits_and_says_so(
    trainer: ModuleType, workspace: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with trainer.lock(workspace):
            second = pool.submit(trainer.lock(workspace).__enter__)
            wait_for(lambda: "another trainer is running" in capfd.readouterr().err, "the message")
            assert not second.done()
        second.result(10)


def test_locks_of_a_killed_trainer_are_removed(trainer: ModuleType, workspace: Path) -> None:
    left = [workspace / ".dvc/tmp/rwlock", workspace / ".git/index.lock"]
    left[0].parent.mkdir(parents=True)
    for path in left:
        path.write_text("{}", encoding="utf-8")
    with trainer.lock(workspace):
        assert not [path for path in left if path.exists()]


@pytest.mark.parametrize(("status", "left"), [(1, "n: 1"), (0, "n: 0")])
def test_a_failed_experiment_restores_the_parameters(
    trainer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, left: str
) -> None:
    (tmp_path / "params.yaml").write_text("n: 1\n", encoding="utf-8")
    put_on_path(tmp_path / "bin/dvc", f"echo 'n: 0' >params.yaml; exit {status}", monkeypatch)

    assert trainer.attempt(["dvc", "exp", "run"], tmp_path) == status
    assert (tmp_path / "params.yaml").read_text("utf-8").strip() == left


@pytest.fixture
def releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "artifact"
    made.mkdir()
    monkeypatch.setenv("RELEASES", str(made))
    return made


@pytest.fixture
def run(
    trainer: ModuleType, source: Path, workspace: Path, releases: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Return a function that runs a command like the container; `dvc` and `python` only record that they ran."""
    (source / ".git").rename(source.parent / "history")
    for name, status in {"dvc": "STATUS", "python": "PROMOTE_STATUS"}.items():
        put_on_path(source.parent / "bin" / name, f'echo "{name} $*" >>ran; exit ${{{status}:-0}}', monkeypatch)
    monkeypatch.setattr(trainer, "SOURCE", source)
    monkeypatch.setattr(trainer, "WORKSPACE", workspace)
    return lambda *command: int(trainer.main(list(command)))


@pytest.mark.parametrize("status", [0, 4])
@pytest.mark.parametrize("command", ["dvc repro", "dvc exp run", "dvc pull"])
def test_only_a_successful_reproduction_promotes_and_a_failure_leaves_a_file_for_the_waiting_api(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, status: int
) -> None:
    (tmp_path / "artifact/failed").touch()
    monkeypatch.setenv("STATUS", str(status))
    promoted = ["python -m stages.commands.promote"] if (command, status) == ("dvc repro", 0) else []

    assert run(*command.split()) == status
    assert (tmp_path / "workspace/ran").read_text("utf-8").splitlines() == [command, *promoted]
    assert (tmp_path / "artifact/failed").exists() == bool(status)


@pytest.mark.parametrize(("released", "status"), [(True, 0), (False, 3)])
def test_a_refused_model_is_a_failure_only_if_nothing_is_in_service(
    run: Callable[..., int], releases: Path, monkeypatch: pytest.MonkeyPatch, released: bool, status: int
) -> None:
    monkeypatch.setenv("PROMOTE_STATUS", "3")
    if released:
        (releases / "1-00000000").mkdir()
        (releases / "current").symlink_to("1-00000000")

    assert run("dvc", "repro") == status
    assert (releases / "failed").exists() != released


def test_the_model_of_an_earlier_version_becomes_a_release_first(
    run: Callable[..., int], workspace: Path, releases: Path
) -> None:
    (releases / "old").mkdir()
    (releases / "old/dvc.lock").touch()
    (releases / "current").symlink_to("old")
    run("dvc", "repro")

    assert (workspace / "ran").read_text("utf-8").splitlines()[0] == "python -m stages.commands.history"


def test_the_s3_server_of_the_project_is_used_if_no_other_is_set(
    trainer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s3.env").write_text("export AWS_ACCESS_KEY_ID=a\nexport AWS_ENDPOINT_URL=http://s3:8333\n", "utf-8")
    monkeypatch.setattr(trainer.socket, "getaddrinfo", lambda *_: [])

    assert trainer.store(tmp_path / "s3.env") == {"AWS_ACCESS_KEY_ID": "a", "AWS_ENDPOINT_URL": "http://s3:8333"}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of a real bucket")
    assert trainer.store(tmp_path / "s3.env") == {}


def test_the_scheduler_of_the_project_is_used_if_no_other_is_set(
    trainer: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer.socket, "getaddrinfo", lambda *_: [])

    assert trainer.cluster() == {"DASK_SCHEDULER_ADDRESS": "tcp://scheduler:8786"}
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://elsewhere:8786")
    assert trainer.cluster() == {}
