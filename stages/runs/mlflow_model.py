"""Log the fitted pipeline to MLflow, so that it accepts a DataFrame and loads without this project."""

import os
import pickle
import shutil
import sys
import tempfile
import warnings
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import FunctionType
from typing import Any

import mlflow.sklearn
import pandas as pd
from mlflow.models import ModelSignature, infer_signature
from mlflow.types.schema import AnyType, ColSpec, Schema
from sklearn.pipeline import Pipeline

from service.contract import Contract

REQUIREMENTS = ("scikit-learn", "numpy", "pandas", "pyarrow", "pydantic", "scipy", "cloudpickle")
"""The packages that every model imports when it is loaded and called, besides MLflow."""
_KNOWN = {"numpy", "pandas", "scipy", "service", "sklearn", "stages"}
"""Modules of every model, which need no search for their packages."""
DERIVING = ("onnxruntime",)
"""More packages, if there are derived features."""
CODE = (
    "service/__init__.py",
    "service/cells.py",
    "service/contract.py",
    "service/coverage.py",
    "service/encoding.py",
    "service/model.py",
    "stages/__init__.py",
    "stages/estimators/__init__.py",
    "stages/estimators/calibrators.py",
    "stages/estimators/derive.py",
    "stages/estimators/steps.py",
)
"""The modules of the pickled classes, and the modules of this project that it imports."""
_ROOT = Path(__file__).parents[2]


def log_model(pipeline: Pipeline, contract: Contract) -> None:
    """Log the pipeline into the active run with signature, input example, pinned requirements and its code."""
    example = pd.DataFrame([contract.example])
    with tempfile.TemporaryDirectory() as folder:
        for file in CODE:
            copy = Path(folder, file)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(_ROOT / file, copy)
        mlflow.sklearn.log_model(
            pipeline,
            name="model",
            serialization_format="cloudpickle",  # MLflow refuses a forest as skops
            signature=_signature(pipeline, contract, example),
            input_example=example,
            pip_requirements=[f"{package}=={version(package)}" for package in _requirements(pipeline)],
            code_paths=[str(Path(folder, package)) for package in ("service", "stages")],
        )


class _Modules(pickle.Pickler):
    """Pickle into nowhere, and collect the top-level modules of all classes and functions."""

    found: set[str]

    def reducer_override(self, value: Any) -> Any:
        kind = value if isinstance(value, type | FunctionType) else type(value)
        self.found.add(kind.__module__.partition(".")[0])
        return NotImplemented


def _requirements(pipeline: Pipeline) -> list[str]:
    """Return the packages of the model, with those that only this kind of model needs."""
    with Path(os.devnull).open("wb") as nowhere:
        pickler = _Modules(nowhere)
        pickler.found = set()
        pickler.dump(pipeline)
    more = {name for name in pickler.found - _KNOWN - sys.stdlib_module_names if not name.startswith("_cython_")}
    distributions = packages_distributions() if more else {}
    found = sorted({name for module in more for name in distributions.get(module, ())})
    return [*REQUIREMENTS, *found, *(DERIVING if "derive" in pipeline.named_steps else ())]


def _signature(pipeline: Pipeline, contract: Contract, example: pd.DataFrame) -> ModelSignature:
    """Return a signature with the columns' names and which may be absent, but without types.

    MLflow refuses an integer for a double and a category for a string; the pipeline's first step
    accepts both.
    """
    untyped = AnyType()
    inputs = Schema([ColSpec(untyped, feature.name, required=not feature.nullable) for feature in contract.features])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about whole numbers, which are classes here
        outputs = infer_signature(model_output=pipeline.predict(example)).outputs
    return ModelSignature(inputs=inputs, outputs=outputs)
