"""What MLflow keeps of a fit: its parameters, what autologging sees of it, and the model."""

import contextlib
from collections.abc import Iterator
from typing import Any

import mlflow
import mlflow.sklearn
import numpy as np
import pandas as pd
from mlflow import ActiveRun
from sklearn.pipeline import Pipeline

from service.contract import Contract
from stages import files
from stages.entry import log
from stages.params import Params
from stages.runs import logged_model, tracking

AUTOLOG_ROWS = 5_000
"""Autologging predicts the rows that it gets five times over, and draws them."""
AUTOLOGGED = "training.metrics_rows"
"""Tag: on how many of the training rows the metrics ``training_…`` are."""


@contextlib.contextmanager
def start_run(experiment_id: str, params: Params) -> Iterator[ActiveRun]:
    """Open a run for a fit and log all parameters; a block that fails leaves a run with the status FAILED.

    Raises UserError if MLflow fails or does not answer.
    """
    name = tracking.experiment_name()
    with (
        tracking.told(),
        mlflow.start_run(
            experiment_id=experiment_id,
            run_name=params.model if name == tracking.NONE else name,
            tags=tracking.tags(),
        ) as active,
    ):
        mlflow.log_params(flat(params))
        yield active


@contextlib.contextmanager
def autologging(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Give `rows` to fit on; of a fit in the block, MLflow logs into the active run what it can tell.

    It notes the estimator, its parameters and, on at most `AUTOLOG_ROWS` of the rows, training
    metrics and plots.
    """
    mlflow.set_tag(AUTOLOGGED, min(len(rows), AUTOLOG_ROWS))
    mlflow.sklearn.autolog(log_models=False, log_datasets=False, log_post_training_metrics=False, silent=True)
    try:
        yield _Rows(rows)
    finally:
        mlflow.sklearn.autolog(disable=True, silent=True)


class _Rows(pd.DataFrame):
    """Rows of which a deep copy holds at most `AUTOLOG_ROWS`, and so do their columns.

    MLflow makes a deep copy before the fit, to predict it five times over afterwards.
    """

    @property
    def _constructor(self) -> type["_Rows"]:
        return _Rows

    @property
    def _constructor_sliced(self) -> type["_Column"]:
        return _Column

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> pd.DataFrame:
        part: pd.DataFrame = pd.DataFrame(self).iloc[_spread(len(self))]
        return part


class _Column(pd.Series):
    """One of their columns."""

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> pd.Series:
        part: pd.Series = pd.Series(self).iloc[_spread(len(self))]
        return part


def _spread(rows: int) -> Any:
    """Return the places of at most `AUTOLOG_ROWS` rows, evenly spaced."""
    return np.linspace(0, rows - 1, min(rows, AUTOLOG_ROWS)).astype(int)


def finish(pipeline: Pipeline, contract: Contract) -> None:
    """Log the model into the active run, and mark the run as complete by the MD5 of the model's file."""
    logged_model.log_model(pipeline, contract)
    mlflow.set_tag(tracking.MODEL_MD5, files.md5(files.MODEL))


def log_restored(experiment_id: str, pipeline: Pipeline, contract: Contract, params: Params) -> str:
    """Log a model that this machine did not fit, such as one of DVC's cache, as a run; return the run's id."""
    with start_run(experiment_id, params) as active:
        finish(pipeline, contract)
    log(f"MLflow run {active.info.run_id}")
    return str(active.info.run_id)


def flat(params: Params) -> dict[str, object]:
    """Return all parameters, nested ones by their dotted names."""
    found: dict[str, object] = {}
    for key, value in params.model_dump(by_alias=True).items():
        found |= {f"{key}.{name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    return found
