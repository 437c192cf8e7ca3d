"""Open the MLflow store, find runs in it, and report its errors in one line.

Runs are found by the MD5 of the model and by the DVC experiment. This MD5 is logged last, so that
unfinished runs are never found.
"""

import contextlib
import fcntl
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import requests
from sqlalchemy.exc import SQLAlchemyError

from stages import files
from stages.entry import importing, log
from stages.errors import UserError
from stages.runs import git

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
with importing():
    import mlflow
    from mlflow.entities import Experiment, Run
    from mlflow.exceptions import MlflowException

MODEL_MD5 = "dvc.md5"
ONNX_MD5 = "dvc.onnx_md5"
DATA_MD5 = "dvc.data_md5"
EXPERIMENT = "DVC_EXP_NAME"
REVISION = "git.revision"
NONE = "-"
"""The value of a tag without a value: MLflow cannot search for runs that lack a tag."""

SETTINGS = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}
"""MLflow's settings, unless the user has set them: a server may need a while for a large model."""
_FIRST_REQUEST = SETTINGS | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
"""For the first request: a server that does not answer is given up after 13 s."""


def store_uri() -> str:
    """Return `MLFLOW_TRACKING_URI`, else ``mlflow.db`` in the repository's root.

    A relative SQLite path also starts at the real root, as temporary copies of experiments are deleted.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    relative = re.fullmatch(r"sqlite:///(?!/)(.+)", uri)
    return f"sqlite:///{files.root() / (relative[1] if relative else 'mlflow.db')}" if relative or not uri else uri


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite store; None for any other store."""
    return Path(uri.removeprefix("sqlite:///").partition("?")[0]) if uri.startswith("sqlite:///") else None


def connect(name: str) -> str:
    """Open the store and return the id of the experiment `name`, created if necessary.

    Raises UserError if the store does not answer within 15 s, or answers with an error.
    """
    experiment = open_store(name)
    if experiment is None:
        with errors_as_line(), locked("store"):
            # Another process of DVC's queue may have created it in the meantime.
            experiment = mlflow.get_experiment_by_name(name)
            if experiment is None:
                local = (files.root() / "mlartifacts").as_uri() if sqlite_file(store_uri()) else None
                return str(mlflow.create_experiment(name, artifact_location=local))
    return str(experiment.experiment_id)


def open_store(name: str) -> Experiment | None:
    """Open the store and return the experiment `name` if there is one. Raises UserError as `connect`."""
    for logger in ("alembic", "mlflow", "urllib3"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # `errors_as_line` reports it
    uri = store_uri()
    mlflow.set_tracking_uri(uri)
    unset = [key for key in SETTINGS if key not in os.environ]
    # Two processes that both create a new store's tables fail; MLflow's own lock does not prevent it.
    with errors_as_line(), locked("store"):
        _check_file(uri)
        os.environ.update({key: _FIRST_REQUEST[key] for key in unset})
        experiment = mlflow.get_experiment_by_name(name)
    os.environ.update({key: SETTINGS[key] for key in unset})
    return experiment


def _check_file(uri: str) -> None:
    """Log if the SQLite file will be created. Raises UserError if its folder is missing."""
    file = sqlite_file(uri)
    if file and not file.parent.is_dir():
        raise UserError(f"MLflow at {uri}: there is no folder {file.parent}; create it, or change MLFLOW_TRACKING_URI")
    if file and not file.exists():
        log(f"there is no MLflow store at {uri} yet; creating an empty one")


@contextlib.contextmanager
def locked(purpose: str) -> Iterator[None]:
    """Let only one process at a time run a block with this purpose on this store; others wait.

    The lock file is next to a SQLite store, which several clones may share, else in this repository. So it
    works for the processes of one machine, but not for two machines that share a server.
    """
    database = sqlite_file(store_uri())
    folder = database.parent if database and database.parent.is_dir() else files.root() / ".dvc" / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{database.name if database else 'mlflow'}.{purpose}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed, or when the process dies
        yield


@contextlib.contextmanager
def errors_as_line() -> Iterator[None]:
    """Convert MLflow, database and network errors to a UserError."""
    try:
        yield
    except (MlflowException, requests.RequestException, SQLAlchemyError) as error:
        remedy = "start it or repair it, or unset MLFLOW_TRACKING_URI"
        if re.search(r"disk I/O error|disk is full", str(error)):
            remedy = "free some disk space or raise `ulimit -f`, and run `dvc repro` again"
        line = f"MLflow at {mlflow.get_tracking_uri()}: {_reason(error)[:300]}; {remedy}"
        raise UserError(_without_password(line)) from None


def _reason(error: Exception) -> str:
    text = " ".join(re.split(r"Stack trace:|\[SQL:", str(error))[0].split()) or type(error).__name__
    if "Max retries exceeded" not in text:
        return text
    if status := re.search(r"too many (\d+) error", text):
        return f"it answers with the error {status[1]}"
    system = re.search(r"\[Errno -?\d+\] ([^'\")]+)", text)
    return f"it does not answer: {system[1] if system else 'no answer in time'}"


def public_uri() -> str:
    """Return the store's URI without its password."""
    return _without_password(mlflow.get_tracking_uri())


def _without_password(text: str) -> str:
    return re.sub(r"(?<=//)([^/:@\s]*):[^/@\s]+@", r"\1:***@", text)


def experiment_name() -> str:
    """Return the DVC experiment that this process runs for, or `NONE`."""
    return os.environ.get(EXPERIMENT) or NONE


def find_run(experiment_id: str, model_md5: str) -> Run | None:
    """Return the newest run of the model with this MD5 in this DVC experiment; None if there is none."""
    runs = mlflow.search_runs(
        [experiment_id],
        filter_string=f"tags.`{MODEL_MD5}` = '{model_md5}' and tags.`{EXPERIMENT}` = '{experiment_name()}'",
        max_results=1,
        output_format="list",
    )
    return runs[0] if runs else None


def lineage() -> dict[str, str]:
    """Return a run's tags for its lineage: MD5 of the training rows, Git revision, DVC experiment."""
    return {
        DATA_MD5: files.md5(files.TRAIN),
        REVISION: os.environ.get("DVC_EXP_BASELINE_REV") or git.head() or NONE,
        EXPERIMENT: experiment_name(),
    }
