"""Fit the pipeline on the training rows; MLflow gets a copy of what happened."""

import time

import joblib
import mlflow
import pandas as pd
from sklearn.pipeline import Pipeline

from service.contract import Contract
from stages import _estimators, _files, _fitted, _fitting, _params, _progress, _tracking
from stages._entry import log, run, timed
from stages._params import Params
from stages._schema import Schema


def train(rows: pd.DataFrame, contract: Contract, params: Params, count: _progress.Counter | None = None) -> Pipeline:
    """Fit `params.model` on `rows`; `count` counts the finished trees."""
    return _fitting.fit(rows, contract, params, count)


def main() -> None:
    """Read the training rows, write the fitted pipeline."""
    params = _params.load(_files.PARAMS)
    contract = Schema.model_validate_json(_files.SCHEMA.read_text(encoding="utf-8")).contract
    rows = pd.read_parquet(_files.TRAIN)
    experiment = _tracking.connect(params.registered_name)  # before the fit: it tells at once if it is down
    what, count = f"fitting {params.model} on {len(rows):,} rows", _progress.Counter()
    with _fitted.start_run(experiment, params) as active:
        start = time.perf_counter()
        with timed(what), _progress.told(what, count, params.n_estimators), _fitted.autologging(rows) as logged:
            pipeline = train(logged, contract, params, count)
        mlflow.log_metric("fit_seconds", time.perf_counter() - start)
        with _files.replacing(_files.MODEL) as beside:
            joblib.dump(pipeline, beside, compress=3)
        with timed(f"logging the model to MLflow at {_tracking.shown()}"):
            _fitted.finish(pipeline, contract)
    if _fitting.unconverged(pipeline):
        log(f"not converged in {_estimators.MAX_ITERATIONS} iterations; a larger l2_penalty makes the fit steadier")
    log(f"MLflow run {active.info.run_id}")


if __name__ == "__main__":
    run(main)
