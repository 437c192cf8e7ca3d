"""What is known about a trained model, from the files of a run of the pipeline or from a dvc.lock."""

import json
from pathlib import Path
from typing import Any

from service.release import ModelRecord
from stages import files
from stages.errors import UserError
from stages.params import Params, model_name
from stages.runs import git
from stages.runs.dvc_lock import DvcLock


class RunRecord(ModelRecord):
    """A model's record with its test rows; a release keeps all of it but `test_md5`."""

    test_md5: str | None
    """MD5 of data/prepared/test.parquet."""


def record_from_files(params: Params, metrics: dict[str, Any], training_rows: int) -> RunRecord:
    """Return the record of the workspace's model during a run of the pipeline, before dvc.lock is written."""
    table = Path(params.data.path)
    return RunRecord(
        name=params.registered_name,
        onnx_md5=files.md5(files.ONNX),
        model_md5=files.md5(files.MODEL),
        data_md5=files.md5(files.TRAIN),
        test_md5=files.md5(files.TEST),
        table_md5=files.md5(table) if table.is_file() else None,
        metrics_md5=files.md5(files.METRICS),
        revision=git.head(),
        dirty=git.is_dirty(),
        metrics=metrics,
        params=params.model_dump(by_alias=True),
        training_rows=training_rows,
    )


def record_from_lock(
    lock: DvcLock, metrics: bytes, training_rows: int | None, revision: str | None, *, dirty: bool
) -> RunRecord:
    """Return the record of the model that a dvc.lock names. Raises UserError if it names none."""
    params = lock.params()
    onnx_md5 = lock.md5_of(files.ONNX)
    if onnx_md5 is None:
        raise UserError(f"{files.LOCK}: names no {files.ONNX}; run `dvc repro`")
    data = params.get("data", {})
    table = str(data.get("path"))
    return RunRecord(
        name=params.get("register", {}).get("name") or model_name(table, str(data.get("target"))),
        onnx_md5=onnx_md5,
        model_md5=lock.md5_of(files.MODEL),
        data_md5=lock.md5_of(files.TRAIN),
        test_md5=lock.md5_of(files.TEST),
        table_md5=lock.md5_of(Path(table)),
        metrics_md5=files.md5_of(metrics),
        revision=revision,
        dirty=dirty,
        metrics=json.loads(metrics),
        params=params,
        training_rows=training_rows,
    )
