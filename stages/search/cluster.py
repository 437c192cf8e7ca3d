"""Run experiments on the workers of a Dask cluster, and fetch them from there.

The commit and the experiments travel through Dask. DVC's files don't: a worker uses this clone's cache, if it reaches
it under the same path, else the DVC remote.
"""

import hashlib
import io
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Final

from stages.errors import UserError
from stages.partitions.executors import Spread, open_pool
from stages.runs import git
from stages.search.clones import Order, Outcome, run_in_clone
from stages.search.experiments import run_git

_POLL_SECONDS: Final = 1.0


def run_experiments(wanted: Sequence[list[str]], scheduler: str) -> Iterator[tuple[int, Outcome]]:
    """Run experiments with ``key=value`` settings on a cluster; yield each one's place and outcome as it ends.

    A finished experiment is in this repository before it is yielded. If a worker is lost, another one runs its
    experiment again; if that happens again and again, the experiment has failed.

    Raises UserError if tracked files differ from the commit, or if the cluster can't be used.
    """
    commit = git.head()
    if commit is None or git.is_dirty():
        raise UserError("workers run a clone of the commit, and tracked files differ from it; run `git commit` first")
    cache = str(_cache())
    orders = [Order(tuple(settings), _name(commit, settings), cache) for settings in wanted]
    with open_pool(Spread(scheduler=scheduler)) as pool:
        repository = pool.share(_pack())
        pending = {pool.executor.submit(run_in_clone, repository, each): place for place, each in enumerate(orders)}
        while pending:
            for future in wait(pending, _POLL_SECONDS, FIRST_COMPLETED).done:
                yield pending.pop(future), _take(future, pool.lost)
            pool.check()


def _take(future: Future[Outcome], lost: tuple[type[Exception], ...]) -> Outcome:
    """Return an outcome, once its experiment is in this repository."""
    try:
        outcome = future.result()
    except lost as error:
        return Outcome(1, str(error))
    if outcome.bundle:
        with tempfile.NamedTemporaryFile(suffix=".bundle") as file:
            file.write(outcome.bundle)
            file.flush()
            run_git("fetch", "--quiet", "--no-write-fetch-head", file.name, "+refs/exps/*:refs/exps/*")
    return outcome


def _name(commit: str, settings: Sequence[str]) -> str:
    return f"sweep-{hashlib.sha256(' '.join([commit, *settings]).encode()).hexdigest()[:6]}"


def _cache() -> Path:
    """Return the folder of DVC's cache."""
    from dvc.repo import Repo  # noqa: PLC0415  # half a second

    with Repo() as repo:
        return Path(repo.cache.local_cache_dir)


def _pack() -> bytes:
    """Return a tar file with a Git folder that has only the commit of the working tree."""
    with tempfile.TemporaryDirectory() as folder, io.BytesIO() as packed:
        options = ("--quiet", "--depth", "1", "--no-checkout")
        run_git("clone", *options, f"file://{Path.cwd()}", f"{folder}/clone")
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(f"{folder}/clone/.git", ".git")
        return packed.getvalue()
