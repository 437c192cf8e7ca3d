"""The model that MLflow keeps: it takes tables as pandas reads them, and loads where this project is not."""

import ast
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
"""Beside MLflow itself, what unpickling and calling the model imports."""
CODE = "stages/estimators/steps.py"
"""The module whose classes the pickle names."""

_SOURCES = Path(__file__).parents[2]


def log_model(pipeline: Pipeline, contract: Contract) -> None:
    """Log the pipeline into the active run with signature, input example, pinned requirements and its code."""
    example = pd.DataFrame([contract.example])
    with tempfile.TemporaryDirectory() as folder:
        mlflow.sklearn.log_model(
            pipeline,
            name="model",
            serialization_format="cloudpickle",  # as skops, a forest is refused
            signature=_signature(pipeline, contract, example),
            input_example=example,
            pip_requirements=[f"{package}=={version(package)}" for package in REQUIREMENTS],
            code_paths=_copy_code(Path(folder)),
        )


def _signature(pipeline: Pipeline, contract: Contract, example: pd.DataFrame) -> ModelSignature:
    """Name the columns and which may be absent, but no types.

    MLflow takes no integer for a double and no category for a string; the pipeline's first
    step takes whatever pandas makes of the table.
    """
    untyped = AnyType()  # type: ignore[no-untyped-call]
    inputs = Schema([ColSpec(untyped, feature.name, required=not feature.nullable) for feature in contract.features])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of whole numbers, which are classes here
        outputs = infer_signature(model_output=pipeline.predict(example)).outputs
    return ModelSignature(inputs=inputs, outputs=outputs)


def _copy_code(folder: Path) -> list[str]:
    """Copy the modules that the pickle names, and what they import of this project; return the packages' folders."""
    for file in code_of(CODE):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(_SOURCES / file, folder / file)
        for package in file.parents[:-1]:
            shutil.copy2(_SOURCES / package / "__init__.py", folder / package)
    return [str(each) for each in sorted(folder.iterdir())]


def code_of(start: str) -> list[Path]:
    """Return the file `start` and the project's modules that it imports, directly or not; paths from the root."""
    found, waiting = set[Path](), [Path(start)]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += [each for each in map(_file_of, imported(file)) if (_SOURCES / each).is_file()]
    return sorted(found)


def imported(file: Path) -> list[str]:
    """Return the dotted names that a file imports; of ``from a import b`` both ``a`` and ``a.b``."""
    names = list[str]()
    for node in ast.walk(ast.parse((_SOURCES / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def _file_of(module: str) -> Path:
    return Path(*module.split(".")).with_suffix(".py")
