"""Where the pipeline's files lie, and how they are written: whole or not at all."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

PARAMS = Path("params.yaml")
DEMO = Path("data/raw/flights.parquet")
TRAIN = Path("data/prepared/train.parquet")
TEST = Path("data/prepared/test.parquet")
SCHEMA = Path("data/prepared/schema.json")
MODEL = Path("models/model.joblib")
ONNX = Path("models/model.onnx")
METRICS = Path("metrics/metrics.json")
PLOTS = Path("metrics/plots")
CARD = Path("metrics/model_card.md")
VALIDATION = Path("metrics/validation.json")
VALIDATION_REPORT = Path("metrics/validation.html")
REGISTRATION = Path("metrics/registration.json")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to, renamed to `path` once the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON that people can read and Git can compare: indented, one newline at the end.

    Raises ValueError for NaN and infinities, which are not JSON.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def md5(path: Path) -> str:
    """The file's MD5 as DVC writes it into dvc.lock, 32 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
