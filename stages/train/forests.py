"""Fit the trees of a forest on the workers of a Dask cluster, with the same bytes as in this process."""

import contextlib
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

import joblib
import numpy as np
from joblib.parallel import ParallelBackendBase
from sklearn.ensemble._forest import BaseForest
from sklearn.pipeline import Pipeline

from stages.entry import log
from stages.estimators import fitting
from stages.partitions.executors import Pool, Spread, open_pool

_FORESTS: Final = ("random_forest", "extra_trees")


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
        token = fitting.BACKEND.set(lambda: joblib.parallel_config(_Backend(pool), n_jobs=-1))
        try:
            yield
        finally:
            fitting.BACKEND.reset(token)


class _Backend(ParallelBackendBase):  # type: ignore[misc]
    """Runs joblib's tasks on a pool; joblib's own backend for Dask waits for ever if the scheduler is gone."""

    supports_retrieve_callback = False
    """The main thread waits, and sees that the cluster is gone."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self._pool = pool
        self._shared: dict[int, tuple[Any, Any]] = {}

    def effective_n_jobs(self, _: int | None) -> int:
        return self._pool.at_once

    def submit(self, func: Any, callback: Callable[[Future[Any]], None]) -> Future[Any]:
        tasks = [
            (task, [self._share(each) for each in given], {name: self._share(each) for name, each in named.items()})
            for task, given, named in func.items
        ]
        future = self._pool.executor.submit(_run, tasks)
        future.add_done_callback(lambda done: None if done.cancelled() else callback(done))  # it submits the next one
        return future

    def _share(self, argument: Any) -> Any:
        """Send an array only once, however many tasks have it."""
        if not isinstance(argument, np.ndarray):
            return argument
        if id(argument) not in self._shared:
            self._shared[id(argument)] = argument, self._pool.share(argument)
        return self._shared[id(argument)][1]

    def stop_call(self) -> None:
        self._shared.clear()

    def retrieve_result(self, future: Future[Any], timeout: float | None = None) -> Any:  # noqa: ARG002
        return self._pool.wait_for(future)


def _run(tasks: Sequence[tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]]) -> list[Any]:
    return [task(*given, **named) for task, given, named in tasks]


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
