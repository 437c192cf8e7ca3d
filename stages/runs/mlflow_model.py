"""Log the fitted pipeline to MLflow, so that it accepts a DataFrame and loads without this project."""

import shutil
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

import mlflow.sklearn
import pandas as pd
from mlflow.models import ModelSignature, infer_signature
from mlflow.types.schema import AnyType, ColSpec, Schema
from sklearn.pipeline import Pipeline

from service.contract import Contract

REQUIREMENTS = ("scikit-learn", "numpy", "pandas", "pyarrow", "pydantic", "scipy", "cloudpickle")
"""The packages that every model imports when it is loaded and called, besides MLflow."""
BOOSTERS = {"lightgbm": ("lightgbm",)}
"""More packages, by the module of the estimator."""
DERIVING = ("onnxruntime",)
"""More packages, if there are derived features."""
CODE = (
    "service/__init__.py",
    "service/cells.py",
    "service/contract.py",
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


def _requirements(pipeline: Pipeline) -> list[str]:
    estimator = pipeline["estimator"]
    if hasattr(estimator, "calibrator"):
        estimator = estimator.estimator
    estimator = getattr(estimator, "regressor", estimator)
    package = type(estimator).__module__.partition(".")[0]
    deriving = DERIVING if "derive" in pipeline.named_steps else ()
    return [*REQUIREMENTS, *BOOSTERS.get(package, ()), *deriving]


def _signature(pipeline: Pipeline, contract: Contract, example: pd.DataFrame) -> ModelSignature:
    """Return a signature with the columns' names and which may be absent, but without types.

    MLflow refuses an integer for a double and a category for a string; the pipeline's first step
    accepts both.
    """
    untyped = AnyType()  # type: ignore[no-untyped-call]
    inputs = Schema([ColSpec(untyped, feature.name, required=not feature.nullable) for feature in contract.features])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about whole numbers, which are classes here
        outputs = infer_signature(model_output=pipeline.predict(example)).outputs
    return ModelSignature(inputs=inputs, outputs=outputs)
