"""On a Dask cluster the bytes are those of one process, also if workers are killed or frozen."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dask_cluster import Cluster, running_cluster
from tests.stages.predict.running import Scoring, stopped_in_one_line

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return a cluster with two workers, whose scheduler gives up a silent one after 3 s."""
    folder = tmp_path_factory.mktemp("dask")
    with running_cluster(root, folder, DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="3s") as made:
        yield made


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_cluster_gives_the_same_bytes_also_if_a_worker_is_killed_or_frozen(
    scoring: Scoring, expected: str, cluster: Cluster, number: signal.Signals
) -> None:
    process = scoring.start("--scheduler", cluster.address)
    cluster.workers[0].send_signal(number)

    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert scoring.md5() == expected


def test_a_killed_scheduler_ends_the_command_in_one_line(scoring: Scoring, cluster: Cluster) -> None:
    process = scoring.start("--scheduler", cluster.address)
    cluster.scheduler.kill()

    stopped_in_one_line(process, "the Dask scheduler")
    assert scoring.left() == [".out.csv.parts"]


def test_without_a_scheduler_the_command_stops_in_one_line(scoring: Scoring) -> None:
    done = scoring.run("--scheduler", "tcp://127.0.0.1:9")

    assert done.returncode == 1
    (line,) = (each for each in done.stderr.splitlines() if not each.startswith("predict   scoring: "))
    assert "tcp://127.0.0.1:9: no Dask scheduler answers" in line
    assert scoring.left() == []


def test_a_scheduler_that_was_frozen_before_ends_the_command_in_one_line(
    scoring: Scoring, root: Path, tmp_path: Path
) -> None:
    with running_cluster(root, tmp_path) as cluster:
        cluster.scheduler.send_signal(signal.SIGSTOP)
        done = scoring.run("--scheduler", cluster.address)
        cluster.scheduler.kill()

    assert done.returncode == 1
    assert "no Dask scheduler answers (not in time)" in done.stderr.splitlines()[-1]


LOST = """
import os
def dask_setup(scheduler):
    scheduler.handlers["{request}"] = lambda **_: os.kill(os.getpid(), {number})
"""


@pytest.mark.parametrize(
    ("request_", "number"),
    [("broadcast", signal.SIGKILL), ("run_function", signal.SIGKILL), ("run_function", signal.SIGSTOP)],
)
def test_a_scheduler_that_is_lost_while_versions_are_compared_is_one_line(
    scoring: Scoring, root: Path, tmp_path_factory: pytest.TempPathFactory, request_: str, number: signal.Signals
) -> None:
    folder = tmp_path_factory.mktemp("dask")
    (folder / "lost.py").write_text(LOST.format(request=request_, number=int(number)))
    with running_cluster(root, folder, 1, DASK_DISTRIBUTED__SCHEDULER__PRELOAD=str(folder / "lost.py")) as made:
        done = scoring.run("--scheduler", made.address)

    assert done.returncode == 1
    line = f"predict: error: {made.address}: the Dask scheduler or one of its workers doesn't answer; start it, "
    assert done.stderr.splitlines()[-1].startswith(line), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("has_code", "message"),
    [
        (True, r": the worker tcp://127.0.0.1:\d+ has numpy 0.0.1, this process "),
        (False, ": the scheduler fails: .*; start schedulers and workers by `python -m dask` in a clone of the same"),
    ],
)
def test_other_packages_or_no_code_on_the_cluster_are_one_line(
    scoring: Scoring, root: Path, tmp_path_factory: pytest.TempPathFactory, has_code: bool, message: str
) -> None:
    folder, packages = tmp_path_factory.mktemp("dask"), tmp_path_factory.mktemp("packages")
    (packages / "numpy-0.0.1.dist-info").mkdir()
    (packages / "numpy-0.0.1.dist-info/METADATA").write_text("Name: numpy\nVersion: 0.0.1\n")
    with running_cluster(root if has_code else folder, folder, 1, PYTHONPATH=str(packages)) as made:
        done = scoring.run("--scheduler", made.address)

    assert done.returncode == 1
    assert re.fullmatch(f"predict: error: {made.address}{message}.*", done.stderr.strip()), done.stderr
    assert scoring.left() == []
