"""Measure how fast the service's code predicts on this machine; only MLflow gets this, as it differs in every run."""

import time
from typing import Any

import numpy as np

from service.model import Model
from stages.stored import Table, take

_WARM_UP = 20
_ONE_ROW = 200
_BATCH = 10_000

Columns = dict[str, list[Any]]


def measure(model: Model, rows: Table) -> dict[str, float]:
    """Return the seconds to encode and score one row (median, 99th percentile), and rows per second in a batch.

    One row is scored 200 times after a warm-up. The batch has at most 10,000 rows; the faster of two counts.
    """
    first = take(rows, np.arange(min(_BATCH, len(rows))))
    batch = {feature.name: first[feature.name].tolist() for feature in model.contract.features}
    size = min(len(rows), _BATCH)
    places = (number % size for number in range(_WARM_UP + _ONE_ROW))
    seconds = [_time(model, {name: [values[place]] for name, values in batch.items()}) for place in places][_WARM_UP:]
    return {
        "predict_one_row_p50_seconds": float(np.quantile(seconds, 0.5)),
        "predict_one_row_p99_seconds": float(np.quantile(seconds, 0.99)),
        "predict_batch_rows_per_second": size / min(_time(model, batch), _time(model, batch)),
    }


def _time(model: Model, columns: Columns) -> float:
    start = time.perf_counter()
    model.scores(model.contract.encode(columns))
    return time.perf_counter() - start
