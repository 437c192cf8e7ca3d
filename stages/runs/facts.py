"""What is known of a trained model, gathered when it is registered or released."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from stages import files
from stages.errors import UserError
from stages.params import Params, model_name
from stages.runs import git
from stages.runs.lock import Lock


class Facts(BaseModel):
    """What is known of a trained model; a release keeps all of it but `test_md5`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    onnx_md5: str
    model_md5: str | None
    data_md5: str | None
    test_md5: str | None
    """MD5 of data/prepared/test.parquet."""
    table_md5: str | None
    metrics_md5: str | None
    revision: str | None
    dirty: bool
    metrics: dict[str, float | str | bool | None]
    params: dict[str, Any]
    training_rows: int | None


def of_files(params: Params, metrics: dict[str, Any], training_rows: int) -> Facts:
    """Gather the facts of the workspace's model from its files, while a run of the pipeline is under way."""
    table = Path(params.data.path)
    return Facts(
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


def of_lock(lock: Lock, metrics: bytes, training_rows: int | None, *, revision: str | None, dirty: bool) -> Facts:
    """Gather the facts of the model that a dvc.lock names. Raises UserError if it names none."""
    params = lock.params()
    onnx_md5 = lock.md5_of(str(files.ONNX))
    if onnx_md5 is None:
        raise UserError(f"{files.LOCK}: names no {files.ONNX}; run `dvc repro`")
    return Facts(
        name=_name(params),
        onnx_md5=onnx_md5,
        model_md5=lock.md5_of(str(files.MODEL)),
        data_md5=lock.md5_of(str(files.TRAIN)),
        test_md5=lock.md5_of(str(files.TEST)),
        table_md5=lock.md5_of(str(params.get("data", {}).get("path"))),
        metrics_md5=files.md5_of(metrics),
        revision=revision,
        dirty=dirty,
        metrics=json.loads(metrics),
        params=params,
        training_rows=training_rows,
    )


def _name(params: dict[str, Any]) -> str:
    data = params.get("data", {})
    return params.get("register", {}).get("name") or model_name(str(data.get("path")), str(data.get("target")))
