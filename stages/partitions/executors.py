"""Open what runs the work: this process, several processes, or the workers of a Dask cluster."""

import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from importlib import metadata
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, ParamSpec, Self, TypeVar

from stages import files
from stages.errors import UserError
from stages.partitions.parts import versions
from stages.partitions.server import start_server

_PACKAGES: Final = ("distributed", "joblib", "lightgbm", "pandas", "scikit-learn", "scipy")
_CONNECT_SECONDS: Final = 10
_ABSENT_SECONDS: Final = 20.0
"""How long no worker or no scheduler may be there."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Spread:
    """Where to run: `workers` processes of this machine (1: this process), or the cluster of a scheduler."""

    workers: int = 1
    scheduler: str | None = None
    threads: int = 1
    """Of this process, if it does the work itself."""

    @classmethod
    def of_environment(cls, threads: int = 1) -> Self:
        """Return what `DASK_SCHEDULER_ADDRESS` or else `WORKERS` says. Raises UserError if the latter is no number."""
        text = os.environ.get("WORKERS") or "1"
        if not text.isdecimal() or int(text) < 1:
            raise UserError(f"WORKERS: got {text!r}; expected a whole number above 0")
        return cls(int(text), os.environ.get("DASK_SCHEDULER_ADDRESS") or None, threads)


@dataclass(frozen=True, slots=True)
class Pool:
    """An executor, and how many tasks to give it at a time."""

    executor: Executor
    at_once: int
    check: Callable[[], None] = lambda: None
    """Called while no task ends. Ends workers that hang; raises UserError if nobody is there to run the tasks."""
    share: Callable[[Any], Any] = lambda value: value
    """Sends a value to each worker once, and returns an argument of tasks, which `get_shared` changes back to it."""
    client: Any = None
    """The client of the Dask cluster, if it is one."""


class _Here(Executor):
    """Runs each task at once, in this process."""

    def submit(
        self, fn: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        future: Future[Result] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # raised again where the result is asked for
            future.set_exception(error)
        return future


@contextlib.contextmanager
def open_pool(spread: Spread) -> Iterator[Pool]:
    """Yield the executor; nothing that it started is left when the block ends."""
    if spread.scheduler:
        with _cluster(spread.scheduler) as pool:
            yield pool
    elif spread.workers > 1:
        with _processes(spread.workers) as pool:
            yield pool
    elif spread.threads > 1:
        with ThreadPoolExecutor(spread.threads) as threads:
            yield Pool(threads, 2 * spread.threads)
    else:
        yield Pool(_Here(), 1)


@contextlib.contextmanager
def _processes(workers: int) -> Iterator[Pool]:
    # A fork of this process would copy the locks of its threads; the fork server has none, and imports only once.
    context = multiprocessing.get_context("forkserver")
    start_server()
    before = set(multiprocessing.active_children())

    def find_started() -> set[BaseProcess]:
        return set(multiprocessing.active_children()) - before

    executor = ProcessPoolExecutor(workers, context, _begin, (dict(os.environ),))
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Pool(executor, 2 * workers, _Frozen(find_started).end, partial(_write_shared, Path(folder)))
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        for process in find_started():
            process.kill()
            process.join()


@dataclass(frozen=True, slots=True)
class _SharedFile:
    path: Path
    md5: str


def _write_shared(folder: Path, value: Any) -> _SharedFile:
    path = folder / "shared"
    with path.open("wb") as file:
        pickle.dump(value, file, pickle.HIGHEST_PROTOCOL)
    return _SharedFile(path, files.md5(path))


@lru_cache(1)
def _read_shared(shared: _SharedFile) -> Any:
    if files.md5(shared.path) != shared.md5:
        raise UserError(f"{shared.path}: has changed; run the command again")
    with shared.path.open("rb") as file:
        return pickle.load(file)  # noqa: S301  # this project's own


def get_shared(argument: Any) -> Any:
    """Return the value that `Pool.share` was given, in a task."""
    return _read_shared(argument) if isinstance(argument, _SharedFile) else argument


def _begin(environment: Mapping[str, str]) -> None:
    """Prepare a worker process: the main process decides about Ctrl-C, and the worker ends if that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.clear()
    os.environ.update(environment)
    parent = multiprocessing.parent_process()

    def end_with_parent() -> None:
        if parent:
            parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


class _Frozen:
    """Ends workers that somebody has stopped (SIGSTOP), so that others do their work."""

    def __init__(self, find: Callable[[], set[BaseProcess]]) -> None:
        self._find = find
        self._stopped: set[BaseProcess] = set()

    def end(self) -> None:
        """End the workers that are stopped now and were stopped the last time; a job in the shell may be resumed."""
        stopped = set(filter(_is_stopped, self._find()))
        for process in stopped & self._stopped:
            process.kill()
        self._stopped = stopped


def _is_stopped(process: BaseProcess) -> bool:
    try:
        about = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8")
    except OSError:  # it has just ended, or the system isn't Linux
        return False
    return about.rpartition(")")[2].split()[0] == "T"


@contextlib.contextmanager
def _cluster(address: str) -> Iterator[Pool]:
    try:
        import dask  # noqa: PLC0415  # packages that only clusters need
        from distributed import Client, KilledWorker  # noqa: PLC0415
    except ModuleNotFoundError:
        raise UserError("a Dask cluster needs the package distributed; run `make .venv/.dask`") from None
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"})
    for name in list(logging.root.manager.loggerDict):  # these packages log tracebacks of lost connections
        if name.partition(".")[0] in {"distributed", "asyncio", "tornado"}:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(action="ignore"):  # of other versions, which are checked below
            client: Any = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise UserError(
            f"{address}: no Dask scheduler answers ({error}); start one, or leave --scheduler out"
        ) from None
    try:
        watch = _Watch(client, address)
        watch.wait_for_workers()
        _check_versions(client, address)
        threads = sum(each["nthreads"] for each in client.scheduler_info(n_workers=-1)["workers"].values())
        share = partial(client.scatter, broadcast=True, hash=False)
        yield Pool(client.get_executor(pure=False), 2 * threads, watch.check, lambda value: share([value])[0], client)
    except KilledWorker as error:
        raise UserError(f"{address}: {error}") from None
    finally:
        client.close(timeout=5)


class _Watch:
    """Notices that a cluster has no workers, or that its scheduler is gone."""

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self._address = address
        self._seen = time.monotonic()

    def wait_for_workers(self) -> None:
        """Return once there is a worker. Raises UserError if there is none in time."""
        while not self._has_workers():
            self._refuse_absence()
            time.sleep(0.2)

    def check(self) -> None:
        """Raise UserError if there has been no worker for some time."""
        if self._has_workers():
            self._seen = time.monotonic()
        else:
            self._refuse_absence()

    def _has_workers(self) -> bool:
        return self._client.status == "running" and bool(self._client.scheduler_info(n_workers=-1)["workers"])

    def _refuse_absence(self) -> None:
        if time.monotonic() - self._seen > _ABSENT_SECONDS:
            lacks = "has no workers" if self._client.status == "running" else "doesn't answer any more"
            raise UserError(f"{self._address}: the Dask scheduler {lacks}; start it, then run the same command again")


def _check_versions(client: Any, address: str) -> None:
    """Raise UserError if the scheduler or a worker lacks this code, or a worker has other packages or code."""
    here = _installed()
    found = {f"worker {each}": about for each, about in client.run(_installed, on_error="return").items()}
    try:
        client.run_on_scheduler(versions)
    except Exception as error:  # noqa: BLE001  # the scheduler's, of any kind
        found = {"scheduler": error} | found
    for who, there in found.items():
        if isinstance(there, Exception):
            remedy = "; start schedulers and workers by `python -m dask` in a clone of the same commit"
            raise UserError(f"{address}: the {who} fails: {there}{remedy if 'No module named' in str(there) else ''}")
        for name, version in here.items():
            if there[name] != version:
                remedy = "start it again in a clone of the same commit, with the packages of its lock files"
                raise UserError(f"{address}: the {who} has {name} {there[name]}, this process {version}; {remedy}")


@cache
def _installed() -> dict[str, str]:
    """Return the versions of what makes the bytes, with an MD5 of this project's code."""
    root = Path(__file__).parents[2]
    code = (each for folder in ("service", "stages") for each in sorted((root / folder).rglob("*.py")))
    content = b"".join(str(each.relative_to(root)).encode() + each.read_bytes() for each in code)
    found = {name: metadata.version(name) for name in _PACKAGES}
    return versions() | found | {"the code": files.md5_of(content)}
