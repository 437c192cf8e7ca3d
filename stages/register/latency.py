"""How fast the served code path predicts on this machine: for MLflow alone, since no two runs agree."""

import time
from typing import Any

import numpy as np
import pandas as pd

import service.model

_ONE_ROW = 200
_BATCH = 10_000


def measure(model: service.model.Model, rows: pd.DataFrame) -> dict[str, float]:
    """Measure encoding and scoring: seconds for one row (median and 99th percentile), rows per second in a batch.

    One row is asked for 200 times, after a warm-up; the batch has at most 10,000 rows
    and counts the faster of two.
    """
    few = _columns(model, rows.iloc[np.arange(_ONE_ROW + 20) % len(rows)])
    seconds = [_time(model, {name: [values[row]] for name, values in few.items()}) for row in range(_ONE_ROW + 20)][20:]
    batch = rows.head(_BATCH)
    columns = _columns(model, batch)
    fastest = min(_time(model, columns) for _ in range(2))
    return {
        "predict_one_row_p50_seconds": float(np.quantile(seconds, 0.5)),
        "predict_one_row_p99_seconds": float(np.quantile(seconds, 0.99)),
        "predict_batch_rows_per_second": len(batch) / fastest,
    }


def _columns(model: service.model.Model, rows: pd.DataFrame) -> dict[str, list[Any]]:
    """Return the features' values as JSON has them."""
    return {feature.name: rows[feature.name].tolist() for feature in model.contract.features}


def _time(model: service.model.Model, columns: dict[str, list[Any]]) -> float:
    start = time.perf_counter()
    model.scores(model.contract.encode(columns))
    return time.perf_counter() - start
