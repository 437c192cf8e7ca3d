"""How fast the served code path predicts on this machine: for MLflow alone, since no two runs agree."""

import time

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
    seconds = [_time(model, rows.iloc[[row % len(rows)]]) for row in range(_ONE_ROW + 20)][20:]
    batch = rows.head(_BATCH)
    fastest = min(_time(model, batch) for _ in range(2))
    return {
        "predict_one_row_p50_seconds": float(np.quantile(seconds, 0.5)),
        "predict_one_row_p99_seconds": float(np.quantile(seconds, 0.99)),
        "predict_batch_rows_per_second": len(batch) / fastest,
    }


def _time(model: service.model.Model, rows: pd.DataFrame) -> float:
    columns = {feature.name: rows[feature.name].tolist() for feature in model.contract.features}  # as JSON has them
    start = time.perf_counter()
    model.scores(model.contract.encode(columns))
    return time.perf_counter() - start
