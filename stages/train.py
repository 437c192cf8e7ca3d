"""Fit the pipeline on the training rows; MLflow gets a copy of what happened."""

import joblib
import pandas as pd
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from service.contract import Contract
from stages import _estimators, _files, _params, _tracking
from stages._entry import run, timed
from stages._params import Params
from stages._schema import Schema


def train(rows: pd.DataFrame, contract: Contract, params: Params) -> Pipeline:
    """Fit `params.model` on `rows`; the same bytes whatever the number of cores."""
    pipeline = _estimators.build(contract, params)
    forest = params.model in ("random_forest", "extra_trees")
    if forest:
        pipeline.set_params(estimator__n_jobs=-1)
    # A sum over threads depends on their number, so BLAS and OpenMP get one; trees are fitted apart.
    with threadpool_limits(1):
        pipeline.fit(rows[[feature.name for feature in contract.features]], rows[contract.target])
    if forest:
        pipeline.set_params(estimator__n_jobs=None)
    return pipeline


def main() -> None:
    """Read the training rows, write the fitted pipeline."""
    params = _params.load(_files.PARAMS)
    schema = Schema.model_validate_json(_files.SCHEMA.read_text(encoding="utf-8"))
    rows = pd.read_parquet(_files.TRAIN)
    with _tracking.training_run(params) as mirror:
        with timed(f"fitting {params.model} on {len(rows):,} rows"):
            pipeline = train(rows, schema.contract, params)
        with _files.replacing(_files.MODEL) as beside:
            joblib.dump(pipeline, beside, compress=3)
        mirror.log_model(pipeline, rows[[feature.name for feature in schema.contract.features]])


if __name__ == "__main__":
    run(main)
