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
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, ParamSpec, Self, TypeVar

from stages import files
from stages.errors import UserError
from stages.partitions.server import killing_frozen, start_server
from stages.partitions.workers import check_versions

_CONNECT_SECONDS: Final = 10
_POLL_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 2.0
_ABSENT_SECONDS: Final = 20.0
"""How long no worker, or no scheduler, may answer; a worker that imports packages on a busy machine does not."""

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
    """An executor, and how many tasks it runs at a time."""

    executor: Executor
    slots: int
    check: Callable[[], object] = lambda: None
    """Called while no task ends. Raises UserError if nobody is there to run the tasks."""
    share: Callable[[Any], Any] = lambda value: value
    """Sends a value to each worker once, and returns an argument of tasks, which `get_shared` changes back to it."""
    lost: tuple[type[Exception], ...] = ()
    """What a task raises if each worker that runs it is lost, if the other tasks go on."""

    @property
    def at_once(self) -> int:
        """How many tasks to give it at a time, so that there is one when another ends."""
        return self.slots if isinstance(self.executor, _Here) else 2 * self.slots

    def wait_for(self, future: Future[Any]) -> Any:
        """Return the result of a task. Raises UserError if nobody is there to run it."""
        while not wait([future], _POLL_SECONDS).done:
            self.check()
        return future.result()


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
            yield Pool(threads, spread.threads)
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

    executor = _Processes(workers, context, _begin, (dict(os.environ),))
    with killing_frozen(find_started), tempfile.TemporaryDirectory() as folder:
        try:
            yield Pool(executor, workers, share=partial(_write_shared, Path(folder)))
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
            for process in find_started():
                process.kill()
                process.join()


class _Processes(ProcessPoolExecutor):
    def submit(
        self, fn: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        try:
            return super().submit(fn, *args, **kwargs)
        except (EOFError, ConnectionError):
            raise BrokenProcessPool("the fork server has ended") from None


@dataclass(frozen=True, slots=True)
class _SharedFile:
    path: Path
    md5: str


def _write_shared(folder: Path, value: Any) -> _SharedFile:
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        pickle.dump(value, file, pickle.HIGHEST_PROTOCOL)
    return _SharedFile(Path(file.name), files.md5(Path(file.name)))


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


@contextlib.contextmanager
def _cluster(address: str) -> Iterator[Pool]:
    import asyncio  # noqa: PLC0415  # as the packages below: only clusters need it

    try:
        import dask  # noqa: PLC0415
        from distributed import Client, KilledWorker  # noqa: PLC0415
        from distributed.client import ClosedClientError  # noqa: PLC0415
        from distributed.comm.core import connect  # noqa: PLC0415
        from distributed.security import Security  # noqa: PLC0415
    except ModuleNotFoundError:
        raise UserError("a Dask cluster needs the package distributed; run `make .venv/.dask`") from None
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"})
    for name in list(logging.root.manager.loggerDict):  # these packages log tracebacks of lost connections
        if name.partition(".")[0] in {"distributed", "asyncio", "tornado"}:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        # A client would wait for ever for the first answer of a scheduler that is frozen.
        first = connect(address, _CONNECT_SECONDS, **Security().get_connection_args("client"))
        asyncio.run(asyncio.wait_for(first, _CONNECT_SECONDS)).abort()
        with warnings.catch_warnings(action="ignore"):  # of other versions, which are checked below
            client: Any = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{address}: no Dask scheduler answers ({str(error) or 'not in time'}); start one, or leave --scheduler out"
        ) from None
    try:
        watch = _Watch(client, address)
        watch.wait_for_workers()
        try:
            check_versions(client, address, _ABSENT_SECONDS)
            threads = sum(client.nthreads(callback_timeout=_ABSENT_SECONDS).values())
        except OSError:
            remedy = "start it, then run the same command again"
            raise UserError(f"{address}: the Dask scheduler or one of its workers doesn't answer; {remedy}") from None
        # Data that is scattered is lost with the worker that has it; a task runs again.
        share = partial(client.submit, _same, pure=False)
        yield Pool(client.get_executor(pure=False), max(threads, 1), watch.check, share, (KilledWorker,))
    except KilledWorker as error:
        raise UserError(f"{address}: {error}") from None
    except (CancelledError, ClosedClientError):
        remedy = "start it if it is gone, then run the same command again"
        raise UserError(f"{address}: the Dask scheduler has lost this work; {remedy}") from None
    finally:
        with contextlib.suppress(TimeoutError):
            client.close(timeout=_ANSWER_SECONDS)


def _same(value: Any) -> Any:
    return value


class _Watch:
    """Notices that no worker of a cluster, or its scheduler, answers."""

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self._address = address
        self._heard: dict[str, float] = {}
        self._absent_since: float | None = None

    def wait_for_workers(self) -> None:
        """Return once there is a worker. Raises UserError if there is none in time."""
        while self.check():
            time.sleep(0.2)

    def check(self) -> bool:
        """Return whether no worker answers now. Raises UserError if none has for some time."""
        heard = self._ask()
        if set((heard or {}).items()) - set(self._heard.items()):
            self._absent_since = None
        elif self._absent_since is None:
            self._absent_since = time.monotonic()
        elif time.monotonic() - self._absent_since > _ABSENT_SECONDS:
            lacks = "doesn't answer; start it" if heard is None else "has no workers that answer; start one"
            raise UserError(f"{self._address}: the Dask scheduler {lacks}, then run the same command again")
        self._heard = heard or {}
        return self._absent_since is not None

    def _ask(self) -> dict[str, float] | None:
        """Return when the scheduler last heard from each worker, in its seconds; None if it doesn't answer."""
        try:
            about = self._client.sync(self._client.scheduler.identity, n_workers=-1, callback_timeout=_ANSWER_SECONDS)
        except (OSError, AttributeError):  # without a connection, the client has no `scheduler`
            return None
        return {worker: each["last_seen"] for worker, each in about["workers"].items()}
