"""Score settings on one fold of the training rows, in this process, in others, or on a Dask cluster."""

from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stages.errors import UserError
from stages.estimators import folds
from stages.params.params import Params
from stages.params.search import Settings
from stages.partitions.executors import Spread, get_shared, open_pool
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


@dataclass(frozen=True, slots=True)
class Scoring:
    """What scores the folds of trials."""

    start: Callable[[Settings, int], Future[float]]
    """Starts to score settings on a fold."""
    slots: int
    """How many folds are scored at a time."""
    check: Callable[[], object] = lambda: None
    """Raises UserError if nobody is there to score."""
    lost: tuple[type[Exception], ...] = ()
    """What `start`'s future raises if each worker that scores this fold is lost."""


@contextmanager
def scoring(scorer: Scorer, spread: Spread) -> Iterator[Scoring]:
    """Yield what scores: this process, others, or the workers of a cluster, which get the rows once."""
    with open_pool(spread) as pool:
        submit, shared = pool.executor.submit, pool.share(scorer)
        try:
            yield Scoring(lambda *which: submit(_score, shared, *which), pool.slots, pool.check, pool.lost)
        except BrokenExecutor:
            remedy = "use fewer jobs, and the search goes on"
            raise UserError(f"a process died, probably for lack of memory; {remedy}") from None


def _score(scorer: Any, settings: Settings, fold: int) -> float:
    return float(get_shared(scorer).score(settings, fold))
