"""export, evaluate and register need memory for a column or a batch of rows, not for the table."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from stages import files
from stages.params.params import Params
from stages.params.sample_use import SampleUse, write_sample_use
from stages.prepare import __main__ as prepare
from stages.stored import writing
from stages.train import __main__ as train
from tests.peak_memory import run_stage

TILE, TIMES = 20_000, 50
LIMIT, BOUND = 1_000_000_000, 650_000_000
"""Bytes that a stage may reserve, and may use."""


def tile() -> pd.DataFrame:
    random = np.random.default_rng(0)
    names = np.array([f"a town of some size, number {number}" for number in range(500)])
    columns = {f"town{place}": pd.Series(random.choice(names, TILE), dtype="str") for place in range(13)}
    columns |= {f"number{place}": pd.Series(random.normal(size=TILE).round(3)) for place in range(6)}
    table = pd.DataFrame(columns)
    return table.assign(y=np.where(table["number0"] + random.normal(size=TILE) > 1, "late", "on time"))


def repeat(rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
    numbers = rows.select_dtypes("float32").columns
    for number in range(TIMES):
        noise = np.random.default_rng(number).normal(scale=1e-3, size=(len(rows), len(numbers)))
        yield rows.assign(**dict(zip(numbers, (rows[numbers] + noise).astype(np.float32).to_numpy().T, strict=True)))


@pytest.fixture
def project(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a model of 20,000 rows, and 1,000,000 training and test rows like them."""
    monkeypatch.chdir(tmp_path)
    raw: dict[str, Any] = YAML(typ="safe", pure=True).load((root / "params.yaml").read_text(encoding="utf-8"))
    raw["data"] |= {"path": "t.csv", "target": "y"}
    raw["split"] = {"method": "random", "test_size": 0.3}
    params = Params.model_validate(raw | {"features": {}, "n_estimators": 10, "validate": {"suite": None}})
    with files.PARAMS.open("w", encoding="utf-8") as file:
        YAML().dump(params.model_dump(by_alias=True), file)
    rows, test, schema = prepare.prepare(tile(), params)
    for path in (files.TRAIN, files.MODEL):
        path.parent.mkdir(parents=True, exist_ok=True)
    for path, part in ((files.TRAIN, rows), (files.TEST, test)):
        with writing(path) as writer:
            for more in repeat(part):
                writer.add(more)
    files.write_json(files.SCHEMA, schema.model_dump(mode="json"))
    joblib.dump(train.train(rows, schema.contract, params), files.MODEL)
    train.predict_out_of_fold(rows, schema, params).write(files.OUT_OF_FOLD)
    files.write_json(files.CANDIDATES, [])
    write_sample_use(SampleUse(rows=TIMES * len(rows), of=TIMES * len(rows), metric="roc_auc"))
    files.write_json(files.VALIDATION, {"success": True, "suite": None, "table": "t.csv", "results": []})
    return tmp_path


@pytest.mark.slow
def test_a_million_rows_are_exported_evaluated_and_registered_below_the_bound(project: Path, root: Path) -> None:
    for stage in ("export", "evaluate", "register"):
        peak = run_stage(stage, project, root, LIMIT, MLFLOW_TRACKING_URI=f"sqlite:///{project}/mlflow.db")
        assert peak < BOUND, stage
    assert files.REPORT.is_file()
