"""Log a fit to MLflow: its parameters, what autologging records, and the model."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import mlflow
import mlflow.sklearn
import numpy as np
import pandas as pd
from mlflow import ActiveRun
from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_NAME
from sklearn.pipeline import Pipeline

from service.contract import Contract
from stages import files
from stages.entry import log, without
from stages.params.choice import Candidate, describe_choice, read_candidates
from stages.params.params import Params
from stages.runs import git, mlflow_model, tracking

AUTOLOG_ROWS = 5_000
"""The most rows for autologging, which predicts them five times."""
AUTOLOGGED = "training.metrics_rows"
"""Tag: the number of training rows behind the metrics ``training_…``."""


@contextlib.contextmanager
def start_run(experiment_id: str, params: Params) -> Iterator[ActiveRun]:
    """Start a run and log all parameters; if the block raises, the run ends with the status FAILED.

    Raises UserError if MLflow fails or does not answer.
    """
    name = tracking.experiment_name()
    commit = git.head()
    at_commit = f"{params.model} at {commit[:7]}" if commit else params.model
    run_name = at_commit if name == tracking.NONE else name
    tags = tracking.lineage() | {MLFLOW_SOURCE_NAME: "stages.train"}  # MLflow would say __main__.py
    with (
        tracking.errors_as_line(),
        mlflow.start_run(experiment_id=experiment_id, run_name=run_name, tags=tags) as active,
    ):
        mlflow.log_params(params.flat())
        yield active


@contextlib.contextmanager
def autologging(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield `rows` to fit on; MLflow logs the fit in the block into the active run.

    It logs the estimator, its parameters and, of at most `AUTOLOG_ROWS` rows, training metrics. Matplotlib is
    hidden from MLflow, whose plots of training rows take a second; the run has plots of the test rows.
    """
    mlflow.set_tag(AUTOLOGGED, min(len(rows), AUTOLOG_ROWS))
    mlflow.sklearn.autolog(log_models=False, log_datasets=False, log_post_training_metrics=False, silent=True)
    start = time.perf_counter()
    try:
        with without("matplotlib"):
            yield _Rows(rows)
        mlflow.log_metric("fit_seconds", time.perf_counter() - start)
    finally:
        mlflow.sklearn.autolog(disable=True, silent=True)


class _Rows(pd.DataFrame):
    """Rows whose deep copy has at most `AUTOLOG_ROWS` rows, as has the deep copy of a column.

    MLflow deep-copies the rows before the fit, and predicts the copy five times afterwards.
    """

    @property
    def _constructor(self) -> type["_Rows"]:
        return _Rows

    @property
    def _constructor_sliced(self) -> type["_Column"]:
        return _Column

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> pd.DataFrame:
        sample: pd.DataFrame = pd.DataFrame(self).iloc[_positions(len(self))]
        return sample


class _Column(pd.Series):
    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> pd.Series:
        sample: pd.Series = pd.Series(self).iloc[_positions(len(self))]
        return sample


def _positions(rows: int) -> Any:
    """Return the positions of at most `AUTOLOG_ROWS` rows, evenly spaced."""
    return np.linspace(0, rows - 1, min(rows, AUTOLOG_ROWS)).astype(int)


def finish(pipeline: Pipeline, contract: Contract, candidates: list[Candidate]) -> None:
    """Log the model and the candidates into the active run, and mark it as complete by the MD5 of the model's file."""
    if candidates:
        mlflow.set_tag("auto.chosen", describe_choice(candidates))
        columns = ("name", "score", "deviation", "loss", "weight")
        table = {column: [getattr(each, column) for each in candidates] for column in columns}
        mlflow.log_table(table | {"settings": [each.describe() for each in candidates]}, "candidates.json")
    mlflow_model.log_model(pipeline, contract)
    mlflow.set_tag(tracking.MODEL_MD5, files.md5(files.MODEL))


def log_restored(experiment_id: str, pipeline: Pipeline, contract: Contract, params: Params) -> str:
    """Log a model that was not fitted here, such as one from DVC's cache, as a run; return the run's id."""
    with start_run(experiment_id, params) as active:
        finish(pipeline, contract, read_candidates())
    log(f"MLflow run {active.info.run_id}")
    return str(active.info.run_id)
