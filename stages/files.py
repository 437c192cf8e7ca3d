"""Paths of the pipeline's files, and functions that write a file completely or not at all."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

PARAMS = Path("params.yaml")
DEMO = Path("data/raw/flights.parquet")  # the demo table
TYPED = Path("data/typed.parquet")
"""The raw table as `validate` read it, with the types of its columns."""
TRAIN = Path("data/prepared/train.parquet")
TEST = Path("data/prepared/test.parquet")
SCHEMA = Path("data/prepared/schema.json")
MODEL = Path("models/model.joblib")
OUT_OF_FOLD = Path("models/out_of_fold.parquet")
"""Predictions of training rows by models that were not fitted on them."""
ONNX = Path("models/model.onnx")
METRICS = Path("metrics/metrics.json")
CANDIDATES = Path("metrics/candidates.json")
"""What `model: auto` tried, and what it chose; an empty list for another model."""
SAMPLE = Path("metrics/sample.json")
"""How many training rows the model was fitted on, and what a sample costs."""
PLOTS = Path("metrics/plots")
SLICES = Path("metrics/slices.csv")
GROUPS = Path("metrics/groups.csv")
CARD = Path("metrics/model_card.md")
REPORT = Path("metrics/report.html")
COMPARISON = Path("build/compare.html")
SUITES = Path("data/suites")
"""Folder of suites; a change of its files reruns `validate`."""
SUITE_DRAFT = Path("build/expectations-draft.json")
VALIDATION = Path("metrics/validation.json")
VALIDATION_REPORT = Path("metrics/validation.html")
REGISTRATION = Path("metrics/registration.json")
LOCK = Path("dvc.lock")
DECISION = Path("build/decision.txt")
"""What `promote` decided last. It depends on earlier releases, so it is not an output of DVC."""


def root() -> Path:
    """Return the repository's real root; DVC runs experiments in copies, where `DVC_ROOT` names the original."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


@contextlib.contextmanager
def replacing(path: Path, suffix: str = "tmp") -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed to `path` if the block succeeds.

    DVC runs one stage at a time, so a file that a killed process left is overwritten; processes that may write the
    same file at once need each its own `suffix`. An OSError in the block names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{suffix}")
    try:
        yield beside
        beside.replace(path)
    except OSError as error:
        if error.filename in (None, str(beside)):
            error.filename = str(path)
        raise
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` for what doesn't fit into memory; it is removed after the block.

    The folder of a killed process is emptied, as in `replacing`. An OSError in the block names the folder.
    """
    folder = path.with_name(f".{path.name}.scratch.tmp")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    except OSError as error:
        error.filename = error.filename or str(folder)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, completely or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON. Raises ValueError for NaN and infinities, which are not JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def md5(path: Path) -> str:
    """Return the file's MD5 as in dvc.lock, 32 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def md5_of(content: bytes) -> str:
    """Return the MD5 of `content`, as `md5`."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
