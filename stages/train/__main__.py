"""Fit the pipeline on the training rows, and log the fit to MLflow.

Example: dvc repro train
"""

import pickle
from typing import TYPE_CHECKING

import joblib
import pandas as pd

from service.contract import Contract
from stages import files
from stages.entry import log, run
from stages.errors import UserError
from stages.estimators import auto, factories, fitting, folds, kinds, out_of_fold
from stages.estimators.calibration import calibrate
from stages.estimators.out_of_fold import OutOfFold
from stages.estimators.sample import Sample, read_sample
from stages.estimators.stopping import limit_rounds
from stages.params.choice import Candidate, apply_choice, describe_choice, write_candidates
from stages.params.loading import load_params
from stages.params.params import Params
from stages.params.sample_use import SampleUse, write_sample_use
from stages.params.task import check_task
from stages.progress import timed
from stages.runs import tracking, training_run
from stages.schema import Schema, read_schema
from stages.train import forests
from stages.train.learning_curve import describe_sample

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_FEW_ROWS = 1_000


def train(rows: pd.DataFrame, contract: Contract, params: Params) -> "Pipeline":
    """Fit `params.model` on `rows`."""
    return forests.separate_trees(fitting.fit(rows, contract, params))


def predict_out_of_fold(rows: pd.DataFrame, schema: Schema, params: Params) -> OutOfFold:
    """Return out-of-fold predictions of the training rows; none if neither folds nor a calibration are wanted."""
    if not (params.evaluate.folds or params.calibration):
        return out_of_fold.nothing(schema.contract)
    with timed(f"predicting {min(len(rows), folds.MOST_ROWS):,} training rows out of fold"):
        return out_of_fold.predict(rows, schema.contract, schema.split, params)


def save(pipeline: "Pipeline", model: str) -> None:
    """Write the fitted pipeline. Raises UserError if it holds what no file can, such as a lambda of the user's."""
    with files.replacing(files.MODEL) as beside:
        try:
            joblib.dump(pipeline, beside, compress=3)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            if ":" not in model:
                raise
            raise factories.explain_error(model, "can't be saved; name each function by `def`", error) from error


def _choose(rows: pd.DataFrame, schema: Schema, params: Params) -> list[Candidate]:
    """Return what `model: auto` tried, with weights; nothing if params.yaml names a model."""
    if params.model != "auto":
        return []
    with timed("cross-validating the candidates of model: auto"):
        candidates = auto.choose(rows, schema.contract, schema.split, params)
    log(f"chosen: {describe_choice(candidates)}")
    return candidates


def check_classes(sample: Sample, contract: Contract) -> None:
    """Raise UserError if the sample lacks a class."""
    lacking = set(contract.classes) - set(sample.rows[contract.target].unique())
    if lacking:
        names = ", ".join(sorted(map(str, lacking))[:5])
        raise UserError(
            f"params.yaml: train.sample: got {len(sample.rows):,}, and none of these rows is of class {names}; use more"
        )


def _measure_cost(sample: Sample, schema: Schema, params: Params) -> SampleUse:
    if sample.is_all:
        return describe_sample(sample, schema.contract, schema.split, params)
    with timed("measuring what the sample costs"):
        use = describe_sample(sample, schema.contract, schema.split, params)
    log(use.describe())
    return use


def main() -> None:
    """Read the training rows; write the fitted pipeline, and what `model: auto` tried."""
    params, schema = load_params(), read_schema()
    contract = schema.contract
    check_task(params, contract)  # `prepare` doesn't run again if only these settings change
    sample = read_sample(files.TRAIN, params)
    check_classes(sample, contract)
    rows = sample.rows
    experiment = tracking.connect(
        params.registered_name
    )  # before the fit, so that the stage fails at once if MLflow is down
    fit = timed(f"fitting {params.model} on {len(rows):,} rows")
    with forests.spreading(params.model), training_run.start_run(experiment, params) as active:
        candidates = _choose(rows, schema, params)
        chosen = stopped = apply_choice(params, candidates)
        if chosen.early_stopping:
            with timed("finding the number of rounds on a held-out part of the training rows"):
                stopped = limit_rounds(rows, contract, schema.split, chosen)
            log(f"{stopped.n_estimators} of at most {chosen.n_estimators} rounds")
        with fit, training_run.autologging(rows) as logged:
            pipeline = train(logged, contract, stopped)
        not_converged = fitting.has_not_converged(pipeline)
        predicted = predict_out_of_fold(rows, schema, chosen)
        pipeline = calibrate(pipeline, rows, contract, predicted, chosen)
        save(pipeline, params.model)
        predicted.placed(sample.places).write(files.OUT_OF_FOLD)
        write_sample_use(_measure_cost(sample, schema, chosen))
        write_candidates(candidates)
        with timed(f"logging the model to MLflow at {tracking.public_uri()}"):
            training_run.finish(pipeline, contract, candidates)
    if params.calibration == "isotonic" and len(rows) < _FEW_ROWS:
        log(f"calibration: isotonic has only {len(rows):,} rows; sigmoid or temperature is safer below {_FEW_ROWS:,}")
    if not_converged:
        log(f"not converged in {kinds.MAX_ITERATIONS} iterations; a larger l2_penalty helps")
    log(f"MLflow run {active.info.run_id}")


if __name__ == "__main__":
    run(main)
