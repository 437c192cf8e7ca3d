"""Fit the trees of a forest on the workers of a Dask cluster, with the same bytes as in this process."""

import contextlib
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from types import FrameType
from typing import Any, Final

import joblib
import numpy as np
from sklearn.ensemble._forest import BaseForest
from sklearn.pipeline import Pipeline

from stages.entry import log
from stages.errors import UserError
from stages.estimators import fitting
from stages.partitions.executors import Pool, Spread, open_pool

_FORESTS: Final = ("random_forest", "extra_trees")
_POLL_SECONDS: Final = 2.0


@contextlib.contextmanager
def spreading(model: str) -> Iterator[None]:
    """Fit forests on the cluster of DASK_SCHEDULER_ADDRESS in the block, if that is set.

    Raises UserError if the cluster can't be used, or if it has been gone for some time during a fit.
    """
    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    if address and model not in _FORESTS:
        log(f"{model} is fitted on this machine; only {' and '.join(_FORESTS)} are fitted on a cluster")
    if not address or model not in _FORESTS:
        yield
        return
    with open_pool(Spread(scheduler=address)) as pool:
        log(f"trees are fitted by the workers of the Dask cluster at {address}")
        token = fitting.BACKEND.set(lambda: _backend(pool, address))
        try:
            yield
        finally:
            fitting.BACKEND.reset(token)


@contextlib.contextmanager
def _backend(pool: Pool, address: str) -> Iterator[None]:
    try:
        with _watched(pool), joblib.parallel_config("dask", client=_Client(pool.client)):
            yield
    except CancelledError:  # the connection was interrupted
        remedy = "start it if it is gone, then run the same command again"
        raise UserError(f"{address}: the Dask scheduler has lost this work; {remedy}") from None


class _Client:
    """A Dask client for joblib, whose data survives the loss of a worker.

    Data that is scattered is gone with the worker that has it. As the result of a task it is sent once, too, but the
    scheduler has the task, and another worker runs it again.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def ncores(self) -> dict[str, int]:
        """Return twice the threads of each worker, so that the next task is there; for one, joblib would use none."""
        return {worker: 2 * threads for worker, threads in self._client.nthreads().items()}

    async def scatter(self, data: Any, **_: Any) -> Any:
        return self._client.submit(_same, data, pure=False)


def _same(data: Any) -> Any:
    return data


@contextlib.contextmanager
def _watched(pool: Pool) -> Iterator[None]:
    """End the block with a UserError if the cluster has been gone for some time; joblib would wait for ever."""
    over, lost = threading.Event(), list[UserError]()

    def watch() -> None:
        while not over.wait(_POLL_SECONDS):
            try:
                pool.check()
            except UserError as error:
                lost.append(error)
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
                return

    def end(_: int, __: FrameType | None) -> None:
        raise lost[0]

    before = signal.signal(signal.SIGUSR1, end)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def separate_trees(pipeline: Pipeline) -> Pipeline:
    """Return the pipeline with forests whose trees have the same bytes in a file, wherever they were fitted.

    Trees from workers came through pickle: they share fewer objects than those fitted here, even the names of their
    attributes, and the unused bytes of their nodes may have any value.
    """
    estimator = pipeline["estimator"]
    estimator = getattr(estimator, "regressor_", estimator)
    for member in getattr(estimator, "members_", [{"estimator": estimator}]):
        forest = member["estimator"]
        if isinstance(forest, BaseForest):
            forest.estimators_ = [_separate(tree) for tree in forest.estimators_]
    return pipeline


def _separate(tree: Any) -> Any:
    """Return a copy that shares only the names of its attributes, with zeros in the unused bytes of its nodes."""
    copy = pickle.loads(pickle.dumps(tree))  # noqa: S301
    copy.__dict__ = {sys.intern(name): value for name, value in vars(copy).items()}
    nodes = copy.tree_.__getstate__()["nodes"]  # the tree's own memory
    last, offset = list(nodes.dtype.fields.values())[-1][:2]
    nodes.view(np.uint8).reshape(len(nodes), -1)[:, offset + last.itemsize :] = 0
    return copy
