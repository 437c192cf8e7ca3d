"""Fit the pipeline on the training rows; MLflow gets a copy of what happened."""

import time

import joblib
import pandas as pd
from sklearn.pipeline import Pipeline

from service.contract import Contract
from stages import _estimators, _files, _fitted, _fitting, _params, _progress, _tracking
from stages._entry import log, run, timed
from stages._fitted import Fit
from stages._params import Params
from stages._schema import Schema


def train(rows: pd.DataFrame, contract: Contract, params: Params, count: _progress.Counter | None = None) -> Pipeline:
    """Fit `params.model` on `rows`; `count` counts the finished trees."""
    return _fitting.fit(rows, contract, params, count)


def main() -> None:
    """Read the training rows, write the fitted pipeline."""
    params = _params.load(_files.PARAMS)
    schema = Schema.model_validate_json(_files.SCHEMA.read_text(encoding="utf-8"))
    rows = pd.read_parquet(_files.TRAIN)
    features = rows[[feature.name for feature in schema.contract.features]]
    experiment = _tracking.connect(params.registered_name)  # before the fit: it tells at once if it is down
    what, count = f"fitting {params.model} on {len(rows):,} rows", _progress.Counter()
    start = time.perf_counter()
    with timed(what), _progress.told(what, count, params.n_estimators):
        pipeline = train(rows, schema.contract, params, count)
    seconds = time.perf_counter() - start
    if _fitting.unconverged(pipeline):
        log(f"not converged in {_estimators.MAX_ITERATIONS} iterations; a larger l2_penalty makes the fit steadier")
    with _files.replacing(_files.MODEL) as beside:
        joblib.dump(pipeline, beside, compress=3)
    _fitted.log_fit(experiment, Fit(pipeline, features, rows[schema.contract.target], params, seconds))


if __name__ == "__main__":
    run(main)
