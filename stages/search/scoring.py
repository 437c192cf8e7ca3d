"""Score settings on one fold of the training rows, in this process or in others."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from stages.errors import UserError
from stages.estimators import folds
from stages.params.params import Params
from stages.params.search import Settings
from stages.schema import Schema
from stages.scores.metrics import main_score


class Scorer:
    """The training rows and their folds."""

    def __init__(self, train: pd.DataFrame, schema: Schema, params: Params) -> None:
        self._schema, self._params, self._size = schema, params, len(train)
        self._rows, self._folds = folds.draw_folds(train, schema.contract, schema.split, params)

    @property
    def folds(self) -> int:
        """The number of folds."""
        return len(self._folds)

    def score(self, settings: Settings, fold: int) -> float:
        """Return the main metric on a fold, as `evaluate` computes it; NaN if it is undefined there."""
        params = self._params.with_settings(settings)
        about = self._schema.contract, self._schema.split, params
        found = main_score(folds.predict_fold(self._rows, self._folds[fold], *about, size=self._size))
        return np.nan if found is None else found


class _Here(Executor):
    """Calls a function at once, in this process."""

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # the caller gets it from the future
            future.set_exception(error)
        return future


_scorer: Scorer | None = None


def _start(scorer: Scorer) -> None:
    """Prepare a process: keep the rows, end at Ctrl-C, and with the parent even if that is killed."""
    global _scorer  # noqa: PLW0603  # a process has one, so that the rows are sent once
    _scorer = scorer
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent  # noqa: S101  # this is no main process
    parent.join()
    os._exit(1)


def _score(settings: Settings, fold: int) -> float:
    assert _scorer  # noqa: S101  # `_start` has set it
    return _scorer.score(settings, fold)


@contextmanager
def scoring(scorer: Scorer, jobs: int) -> Iterator[Any]:
    """Yield a function that starts to score settings on a fold, in this process or in `jobs` others."""
    if jobs == 1:
        here = _Here()
        yield lambda settings, fold: here.submit(scorer.score, settings, fold)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(scorer,))
    try:
        yield lambda settings, fold: pool.submit(_score, settings, fold)
    except BrokenProcessPool:
        raise UserError("a process died, probably for lack of memory; use fewer jobs, and the search goes on") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
