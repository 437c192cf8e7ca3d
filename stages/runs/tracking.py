"""The mirror in MLflow: which store, which run, and one clear line when the store does not answer.

A run is found by the MD5 of its model and the DVC experiment that made it. It bears that
MD5 only once everything of the fit is in it, so that half a run is never taken for one.
"""

import contextlib
import fcntl
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import requests
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from stages import files
from stages.entry import log
from stages.errors import UserError
from stages.runs import git

MODEL_MD5 = "dvc.md5"
ONNX_MD5 = "dvc.onnx_md5"
DATA_MD5 = "dvc.data_md5"
EXPERIMENT = "DVC_EXP_NAME"
REVISION = "git.revision"
NONE = "-"
"""The value of a tag that has none: MLflow cannot search for a tag that is not there."""

_CONTACT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
"""The first question must be answered soon: 13 s until a server that is silent is given up."""
_WORK = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}
"""Once it has answered, storing a large model may take it a while."""


def store() -> str:
    """URI of the tracking store: `MLFLOW_TRACKING_URI`, else ``mlflow.db`` in the real root.

    A relative SQLite path is taken from the real root too; a run in a temporary copy would be lost with it.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    relative = re.fullmatch(r"sqlite:///(?!/)(.+)", uri)
    return f"sqlite:///{files.root() / (relative[1] if relative else 'mlflow.db')}" if relative or not uri else uri


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite store, None for any other store."""
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]) if uri.startswith("sqlite:///") else None


def connect(name: str) -> str:
    """Open the store and the experiment `name`, made if it is not there; give the experiment's id.

    Raises UserError if the store does not answer within 15 s, or answers with an error.
    """
    experiment = open_store(name)
    if experiment:
        return str(experiment.experiment_id)
    with told(), alone("store"):
        return _create(name)


def open_store(name: str) -> Experiment | None:
    """Open the store and ask for the experiment `name`, to see that it answers. Raises UserError as `connect`."""
    for quiet in ("alembic", "mlflow", "urllib3"):
        logging.getLogger(quiet).setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # `told` says it in one line
    mlflow.set_tracking_uri(store())
    # Two processes that both find no tables both make them, and one fails: MLflow's own lock does not prevent it.
    with told(), alone("store"):
        _tell_if_new()
        with _patience(_CONTACT):
            experiment = mlflow.get_experiment_by_name(name)
    os.environ.update({key: value for key, value in _WORK.items() if key not in os.environ})
    return experiment


@contextlib.contextmanager
def alone(what: str) -> Iterator[None]:
    """Wait until no other process that uses the same store is inside the same block.

    The lock lies beside a SQLite store, which several clones may share, else in this repository: it separates the
    processes of one machine, not those of two that share a server.
    """
    database = sqlite_file(store())
    folder = database.parent if database and database.parent.is_dir() else files.root() / ".dvc" / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{database.name if database else 'mlflow'}.{what}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed, or the process dies
        yield


def _tell_if_new() -> None:
    uri = mlflow.get_tracking_uri()
    file = sqlite_file(uri)
    if file:
        if not file.parent.is_dir():
            raise UserError(
                f"MLflow at {uri}: there is no folder {file.parent}; make it, or change MLFLOW_TRACKING_URI"
            )
        if not file.exists():
            log(f"there is no MLflow store at {uri} yet: beginning an empty one, without runs and champion")


@contextlib.contextmanager
def _patience(settings: dict[str, str]) -> Iterator[None]:
    """Set what the user has not set, for a while."""
    ours = {key: value for key, value in settings.items() if key not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for key in ours:
            del os.environ[key]


def _create(name: str) -> str:
    location = (files.root() / "mlartifacts").as_uri() if mlflow.get_tracking_uri().startswith("sqlite:") else None
    try:
        return str(mlflow.create_experiment(name, artifact_location=location))
    except MlflowException:
        # Another worker of the queue was faster, or there is a reason that the second question tells.
        experiment = mlflow.get_experiment_by_name(name)
        if experiment is None:
            raise
        return str(experiment.experiment_id)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Turn what the store, or the way to it, has against us into one line."""
    try:
        yield
    except (MlflowException, requests.RequestException, SQLAlchemyError) as error:
        remedy = "start it or repair it, or unset MLFLOW_TRACKING_URI"
        if re.search(r"disk I/O error|disk is full", str(error)):
            remedy = "free some disk space or raise `ulimit -f`, and run `dvc repro` again"
        line = f"MLflow at {mlflow.get_tracking_uri()}: {_reason(error)[:300]}; {remedy}"
        raise UserError(_without_password(line)) from None


def _reason(error: Exception) -> str:
    text = str(error).partition("Stack trace:")[0].strip() or type(error).__name__
    if "Max retries exceeded" not in text:
        return text
    system = re.search(r"\[Errno -?\d+\] ([^'\")]+)", text)
    status = re.search(r"too many (\d+) error", text)
    if status:
        return f"it answers with the error {status[1]}"
    return f"it does not answer: {system[1] if system else 'no answer in time'}"


def shown() -> str:
    """The store's URI, fit to be read by anyone."""
    return _without_password(mlflow.get_tracking_uri())


def _without_password(text: str) -> str:
    return re.sub(r"(?<=//)([^/:@\s]*):[^/@\s]+@", r"\1:***@", text)


def experiment_name() -> str:
    """The DVC experiment that this process runs for, or `NONE`."""
    return os.environ.get(EXPERIMENT) or NONE


def find_run(experiment_id: str, model_md5: str) -> Run | None:
    """The newest run of the model with this MD5 in this DVC experiment, if there is one."""
    runs = mlflow.search_runs(
        [experiment_id],
        filter_string=f"tags.`{MODEL_MD5}` = '{model_md5}' and tags.`{EXPERIMENT}` = '{experiment_name()}'",
        max_results=1,
        output_format="list",
    )
    return runs[0] if runs else None


def tags() -> dict[str, str]:
    """What leads from a run back to the files: MD5 of the training rows, Git revision, DVC experiment."""
    return {
        DATA_MD5: files.md5(files.TRAIN),
        REVISION: os.environ.get("DVC_EXP_BASELINE_REV") or git.head() or NONE,
        EXPERIMENT: experiment_name(),
    }
