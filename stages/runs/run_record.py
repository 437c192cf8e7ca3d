"""Create the record of a trained model, from the pipeline's files or from a dvc.lock."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from service.release import ModelRecord
from stages import files
from stages.errors import UserError
from stages.params.naming import model_name
from stages.params.params import Params
from stages.runs import git
from stages.runs.dvc import DvcLock


class RunRecord(ModelRecord):
    """A model's record with the MD5 of its test rows; a release keeps all fields except `test_md5`."""

    test_md5: str | None
    """MD5 of data/prepared/test.parquet."""


def record_from_files(params: Params, **fields: Any) -> RunRecord:
    """Return the record of the workspace's model during a run of the pipeline, before dvc.lock is written.

    `fields` are `metrics` and `training_rows`.
    """

    def md5_of(path: Path) -> str | None:
        return files.md5(path) if path.is_file() else None

    return _record(md5_of, params.model_dump(by_alias=True), revision=git.head(), dirty=git.is_dirty(), **fields)


def record_from_lock(lock: DvcLock, **fields: Any) -> RunRecord:
    """Return the record of the model that a dvc.lock names. Raises UserError if it names none.

    `fields` are `metrics`, `training_rows`, `revision` and `dirty`.
    """
    if lock.md5_of(files.ONNX) is None:
        raise UserError(f"{files.LOCK}: names no {files.ONNX}; run `dvc repro`")
    return _record(lock.md5_of, lock.params(), **fields)


def _record(md5_of: Callable[[Path], str | None], params: dict[str, Any], **fields: Any) -> RunRecord:
    data = params.get("data", {})
    table, target = str(data.get("path")), str(data.get("target"))
    sample = params.get("train", {}).get("sample")
    if sample and fields.get("training_rows"):
        fields["training_rows"] = min(fields["training_rows"], sample)
    return RunRecord(
        name=params.get("register", {}).get("name") or model_name(table, target),
        onnx_md5=str(md5_of(files.ONNX)),
        model_md5=md5_of(files.MODEL),
        data_md5=md5_of(files.TRAIN),
        test_md5=md5_of(files.TEST),
        table_md5=md5_of(Path(table)),
        metrics_md5=md5_of(files.METRICS),
        params=params,
        **fields,
    )
