"""Stages killed, unable to write, or run twice at once: each output is complete or missing, the next run repairs it."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.e2e.conftest import Project

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("kill"),  # all share one project
]
KILLS = ["prepare:1,3", "train:1", "evaluate:11", "register:1,3"]
"""The renames at which each stage is killed: of its own files and, in `register`, of MLflow's."""
LAUNCHER = Path(__file__).with_name("killed.py")
OUTPUTS = {"prepare": "data/prepared/test.parquet", "export": "models/model.onnx", "evaluate": "metrics/metrics.json"}
"""The output that a stage writes first."""
# Python 3.11 keeps bytecode that was cut off in the middle (cpython#126606).
NO_FILE_BEYOND_256_BYTES = ("env", "PYTHONDONTWRITEBYTECODE=1", "prlimit", "--fsize=256")


@pytest.fixture(scope="module")
def undisturbed(trained: Callable[[], Project]) -> Project:
    """Return a project whose pipeline ran, with everything committed."""
    return trained()


@pytest.fixture
def ran(undisturbed: Project) -> Iterator[Project]:
    """Return that project, and restore what a failed test changed in Git."""
    yield undisturbed
    undisturbed.ok("git", "checkout", "--quiet", ".")


def lock(project: Project) -> Any:
    """Return the stages of dvc.lock, whatever their order."""
    return YAML(typ="safe", pure=True).load((project.path / "dvc.lock").read_text(encoding="utf-8"))["stages"]


def forget(project: Project, *stages: str) -> Any:
    """Remove the stages from dvc.lock, as if they had never completed; return all stages from before."""
    before = lock(project)
    rest = {name: entry for name, entry in before.items() if name not in stages}
    with (project.path / "dvc.lock").open("w", encoding="utf-8") as file:
        YAML().dump({"schema": "2.0", "stages": rest}, file)
    return before


def leftovers(project: Project) -> list[str]:
    """Return unfinished files of interrupted writes."""
    return [
        str(path) for room in ("data", "models", "metrics", "build") for path in (project.path / room).rglob("*.tmp")
    ]


def failed(project: Project, stage: str, *before: str) -> str:
    """Run a stage that must fail with one line; return that line."""
    done = project.run(*before, "python", "-m", f"stages.{stage}")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return str(done.stderr.splitlines()[-1])


@pytest.mark.long
def test_stages_killed_at_their_writes_are_repaired_by_the_next_run(ran: Project) -> None:
    before = forget(ran, *(each.partition(":")[0] for each in KILLS))
    killed = ran.ok("python", str(LAUNCHER), *KILLS).splitlines()[-1].split()
    ran.ok("dvc", "repro", "--no-run-cache")

    assert killed == KILLS
    assert lock(ran) == before
    assert leftovers(ran) == []


@pytest.mark.parametrize("leave", ["metrics/plots/.roc.csv.tmp", "models/.model.onnx.tmp"])
def test_neither_dvc_nor_git_sees_what_a_killed_stage_leaves(ran: Project, leave: str) -> None:
    path = ran.path / leave
    path.write_bytes(b"half")
    status = ran.ok("dvc", "status"), ran.ok("git", "status", "--short")
    path.unlink()

    assert "up to date" in status[0]
    assert status[1] == ""


def test_a_second_repro_at_once_names_the_first_and_a_killed_one_is_repaired(ran: Project) -> None:
    before = lock(ran)
    command = ("dvc", "repro", "--force", "--no-run-cache", "--single-item", "train")
    with ran.start(*command) as first:
        first.read_until("train     fitting")
        first.process.send_signal(signal.SIGSTOP)  # on a slow machine the second would begin when the first has ended
        second = ran.run(*command)
        first.process.kill()
    ran.ok("dvc", "repro", "train")

    assert second.returncode
    assert f"(PID {first.process.pid}): " in second.stderr
    assert "is busy, it is being blocked by" in second.stderr
    assert lock(ran) == before


@pytest.mark.parametrize(("stage", "path"), OUTPUTS.items())
def test_a_file_that_cannot_grow_is_reported_in_one_line_and_the_old_one_stays(
    ran: Project, stage: str, path: str
) -> None:
    before = (ran.path / path).read_bytes()
    line = failed(ran, stage, *NO_FILE_BEYOND_256_BYTES)

    assert line.startswith(f"{stage}: error: {path}: the file grows beyond")
    assert (ran.path / path).read_bytes() == before
    assert leftovers(ran) == []


def test_a_store_that_cannot_grow_is_reported_in_one_line_before_the_fit(ran: Project) -> None:
    before = (ran.path / "models/model.joblib").read_bytes()
    line = failed(ran, "train", *NO_FILE_BEYOND_256_BYTES)

    assert line.startswith("train: error: MLflow at sqlite:///")
    assert "disk I/O error" in line
    assert "free some disk space" in line
    assert (ran.path / "models/model.joblib").read_bytes() == before


@pytest.fixture
def full() -> tuple[str, ...]:
    """Return a function that mounts a file system of 4 KiB under data/prepared; skip if that isn't permitted."""
    mount = 'mount -t tmpfs -o size=4k tmpfs data/prepared && "$@"; status=$?; ls -A data/prepared; exit $status'
    command = ("unshare", "--map-root-user", "--mount", "sh", "-c")
    done = subprocess.run([*command, "mount -t tmpfs tmpfs /mnt"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"NOT TESTED: a full disk; mounting one isn't permitted: {done.stderr.strip()}")
    return (*command, mount, "sh")


def test_a_full_disk_is_reported_in_one_line_and_nothing_unfinished_stays(ran: Project, full: tuple[str, ...]) -> None:
    done = ran.run(*full, "python", "-m", "stages.prepare")

    assert done.returncode == 1
    assert re.match(r"prepare: error: data/prepared/(train|test)\.parquet: no space left", done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.fixture
def plain() -> tuple[str, ...]:
    """Return the command prefix that makes permissions apply to root too."""
    drop = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    if os.geteuid() != 0:
        return ()
    done = subprocess.run([*drop, "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"NOT TESTED: no write permission; root can't give up its own: {done.stderr.strip()}")
    return drop


def test_a_folder_without_write_permission_is_reported_in_one_line(ran: Project, plain: tuple[str, ...]) -> None:
    folder = ran.path / "models"
    folder.chmod(0o555)
    try:
        line = failed(ran, "export", *plain)
    finally:
        folder.chmod(0o755)

    assert line.startswith("export: error: models/model.onnx: permission denied")


def test_a_broken_table_stops_the_pipeline_and_repairing_it_is_enough(ran: Project) -> None:
    before, table = lock(ran), ran.path / "data/small.csv"
    whole = table.read_text(encoding="utf-8")
    table.write_text(whole.replace(",x,", ",x,x,", 1), encoding="utf-8")
    broken = ran.run("dvc", "repro", "register")
    table.write_text(whole, encoding="utf-8")
    ran.ok("dvc", "repro", "register")

    assert broken.returncode
    assert "validate: error: data/small.csv: line " in broken.stderr
    assert lock(ran) == before
