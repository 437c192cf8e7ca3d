"""The mirror in MLflow: one run a model, found again by the model's MD5."""

import contextlib
import logging
import os
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

import mlflow
import mlflow.sklearn
import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from sklearn.pipeline import Pipeline

from stages import _files
from stages._entry import log
from stages._errors import UserError
from stages._params import Params

MODEL_MD5 = "dvc.md5"
_PACKAGES = ("scikit-learn", "numpy", "pandas", "pydantic", "pyarrow", "joblib", "cloudpickle")


def connect(name: str) -> str:
    """Open the tracking store and the experiment `name`; give the experiment's id.

    The store is `MLFLOW_TRACKING_URI`, else a file in the repository's real root: DVC runs
    experiments in temporary copies, and says in `DVC_ROOT` where they came from.
    """
    for quiet in ("alembic", "mlflow"):
        logging.getLogger(quiet).setLevel(logging.ERROR)
    root = Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri or f"sqlite:///{root / 'mlflow.db'}")
    try:
        experiment = mlflow.get_experiment_by_name(name)
        if experiment:
            return str(experiment.experiment_id)
        location = None if uri else (root / "mlartifacts").as_uri()
        return str(mlflow.create_experiment(name, artifact_location=location))
    except MlflowException as error:
        raise UserError(
            f"MLflow at {mlflow.get_tracking_uri()}: {error}; start it, or unset MLFLOW_TRACKING_URI"
        ) from None


def find_run(experiment_id: str, model_md5: str) -> Run | None:
    """The newest run of the model with this MD5 in this DVC experiment, if there is one."""
    name = os.environ.get("DVC_EXP_NAME", "")
    runs = mlflow.search_runs(
        [experiment_id],
        filter_string=f"tags.`{MODEL_MD5}` = '{model_md5}' and tags.`DVC_EXP_NAME` = '{name or '-'}'",
        max_results=1,
        output_format="list",
    )
    return runs[0] if runs else None


def tags() -> dict[str, str]:
    """What leads from a run back to the files: MD5s, Git revision, DVC experiment."""
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "dvc.data_md5": _files.md5(_files.TRAIN),
        "git.revision": head.stdout.strip() or "-",
        "DVC_EXP_NAME": os.environ.get("DVC_EXP_NAME") or "-",
    }


class Mirror:
    """A run under way."""

    def __init__(self, params: Params) -> None:
        mlflow.log_params(flat(params))
        mlflow.set_tags(tags())

    def log_model(self, pipeline: Pipeline, rows: pd.DataFrame) -> None:
        """Log the model with signature, input example and pinned requirements."""
        example = rows.head(5)
        mlflow.sklearn.log_model(
            pipeline,
            name="model",
            serialization_format="cloudpickle",
            signature=infer_signature(example, pipeline.predict(example)),
            input_example=example,
            pip_requirements=[f"{package}=={version(package)}" for package in _PACKAGES],
            code_paths=["service", "stages"],
        )
        mlflow.set_tag(MODEL_MD5, _files.md5(_files.MODEL))


@contextlib.contextmanager
def training_run(params: Params) -> Iterator[Mirror]:
    """Open a run with autologging on around a fit."""
    experiment_id = connect(params.registration.name)
    mlflow.sklearn.autolog(log_models=False, log_datasets=False, log_post_training_metrics=False, silent=True)
    with mlflow.start_run(experiment_id=experiment_id) as active:
        yield Mirror(params)
        log(f"MLflow run {active.info.run_id} in {mlflow.get_tracking_uri()}")


def flat(params: Params) -> dict[str, object]:
    """All parameters, nested ones by their dotted names."""
    found: dict[str, object] = {}
    for key, value in params.model_dump(by_alias=True).items():
        found |= {f"{key}.{name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    return found
