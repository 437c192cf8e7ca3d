"""What MLflow keeps of a fit: autologging, all parameters, and the model with what it needs to be loaded."""

import ast
import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import mlflow.sklearn
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import estimator_html_repr

from stages import _files, _tracking
from stages._entry import log, timed
from stages._params import Params

REQUIREMENTS = ("scikit-learn", "numpy", "pandas", "pyarrow", "pydantic", "ruamel.yaml", "scipy", "cloudpickle")
"""Beside MLflow itself, what unpickling and calling the model imports."""
AUTOLOG_ROWS = 5_000
"""Autologging predicts its rows five times over, and draws them: 16 s for the 219,285 rows of the demo table."""

_SOURCES = Path(__file__).parents[1]


class _Fitted(FrozenEstimator):  # type: ignore[misc]
    """A fitted step whose `fit` does nothing, under the step's own parameters."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002  # scikit-learn's signature
        """Give the parameters of the step inside."""
        found: dict[str, Any] = self.estimator.get_params(deep=deep)
        return found

    def __repr__(self) -> str:
        return repr(self.estimator)


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted pipeline and what it was fitted to."""

    pipeline: Pipeline
    rows: pd.DataFrame
    """The training rows, features alone."""
    target: pd.Series
    params: Params
    seconds: float | None = None
    """How long it took; None if this process did not fit it."""


def log_fit(experiment_id: str, fit: Fit) -> str:
    """Log a fit as one run; give its id."""
    name = _tracking.experiment_name()
    with (
        _tracking.told(),
        timed(f"logging to MLflow at {_tracking.shown()}"),
        mlflow.start_run(
            experiment_id=experiment_id,
            run_name=fit.params.model if name == _tracking.NONE else name,
            tags=_tracking.tags() | {"training.metrics_rows": str(min(len(fit.rows), AUTOLOG_ROWS))},
        ) as active,
    ):
        mlflow.log_params(flat(fit.params))
        if fit.seconds is not None:
            mlflow.log_metric("fit_seconds", fit.seconds)
        _autolog(fit)
        _log_model(fit)
        mlflow.set_tag(_tracking.MODEL_MD5, _files.md5(_files.MODEL))
    log(f"MLflow run {active.info.run_id}")
    return str(active.info.run_id)


def flat(params: Params) -> dict[str, object]:
    """All parameters, nested ones by their dotted names."""
    found: dict[str, object] = {}
    for key, value in params.model_dump(by_alias=True).items():
        found |= {f"{key}.{name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    return found


def _autolog(fit: Fit) -> None:
    """Let MLflow note what it can tell of a fit: estimator, parameters, training metrics, plots.

    It does so around a call of `fit`. The pipeline is fitted already, so the call is made on
    its frozen steps, with at most `AUTOLOG_ROWS` of the training rows, evenly spaced.
    """
    sample = np.linspace(0, len(fit.rows) - 1, min(len(fit.rows), AUTOLOG_ROWS)).astype(int)
    frozen = Pipeline([(name, _Fitted(step)) for name, step in fit.pipeline.steps])
    mlflow.sklearn.autolog(log_models=False, log_datasets=False, log_post_training_metrics=False, silent=True)
    try:
        frozen.fit(fit.rows.iloc[sample], fit.target.iloc[sample])
    finally:
        mlflow.sklearn.autolog(disable=True, silent=True)
    mlflow.log_text(estimator_html_repr(fit.pipeline), "estimator.html")


def _log_model(fit: Fit) -> None:
    """Log the model with signature, input example, pinned requirements and the code that it is made of."""
    example = fit.rows.head(5)
    with tempfile.TemporaryDirectory() as folder:
        mlflow.sklearn.log_model(
            fit.pipeline,
            name="model",
            serialization_format="cloudpickle",  # as skops, a forest is refused
            signature=infer_signature(example, fit.pipeline.predict(example)),
            input_example=example,
            pip_requirements=[f"{package}=={version(package)}" for package in REQUIREMENTS],
            code_paths=_copy_code(Path(folder)),
        )


def _copy_code(folder: Path) -> list[str]:
    """Copy the modules that the pickle names, and what they import of this project; give the packages' folders."""
    for file in code_of("stages/_estimators.py"):
        (folder / file).parent.mkdir(exist_ok=True)
        shutil.copy2(_SOURCES / file, folder / file)
        shutil.copy2(_SOURCES / file.with_name("__init__.py"), folder / file.parent)
    return [str(each) for each in sorted(folder.iterdir())]


def code_of(start: str) -> list[Path]:
    """The file `start` and the project's modules that it imports, directly or not; paths from the root."""
    found, waiting = set[Path](), [Path(start)]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += [each for each in map(_file_of, imported(file)) if (_SOURCES / each).is_file()]
    return sorted(found)


def imported(file: Path) -> list[str]:
    """The dotted names that a file imports; of ``from a import b`` both ``a`` and ``a.b``."""
    names = list[str]()
    for node in ast.walk(ast.parse((_SOURCES / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def _file_of(module: str) -> Path:
    return Path(*module.split(".")).with_suffix(".py")
