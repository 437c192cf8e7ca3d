"""Where the pipeline's files lie, and how they are written: whole or not at all."""

import contextlib
import glob
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

PARAMS = Path("params.yaml")
DEMO = Path("data/raw/flights.parquet")
TYPED = Path("data/typed.parquet")
"""The raw table as `validate` read it, with the types of its columns."""
TRAIN = Path("data/prepared/train.parquet")
TEST = Path("data/prepared/test.parquet")
SCHEMA = Path("data/prepared/schema.json")
MODEL = Path("models/model.joblib")
ONNX = Path("models/model.onnx")
METRICS = Path("metrics/metrics.json")
PLOTS = Path("metrics/plots")
SLICES = Path("metrics/slices.csv")
CARD = Path("metrics/model_card.md")
SUITES = Path("data/suites")
"""Where DVC watches for edits of suites."""
SUITE_DRAFT = Path("build/expectations-draft.json")
VALIDATION = Path("metrics/validation.json")
VALIDATION_REPORT = Path("metrics/validation.html")
REGISTRATION = Path("metrics/registration.json")
LOCK = Path("dvc.lock")
DECISION = Path("build/decision.txt")
"""What `promote` decided last; it depends on what was released before, so DVC doesn't know of it."""


def root() -> Path:
    """Return the repository's real root: DVC runs experiments in temporary copies and says where they came from."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to, renamed to `path` once the block ends well.

    What killed processes left beside `path` is removed. An OSError of the writing names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if not _runs(left.suffixes[-2].removeprefix(".")):
            left.unlink(missing_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield beside
        beside.replace(path)
    except OSError as error:
        if error.filename in (None, str(beside)):
            error.filename = str(path)
        raise
    finally:
        beside.unlink(missing_ok=True)


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


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


def md5_of(content: bytes) -> str:
    """Return the MD5 of `content`, as `md5`."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
