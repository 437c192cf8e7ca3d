"""export and evaluate write the same bytes in this process, in two processes and on a Dask cluster."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from stages import files
from stages.estimators.calibration import calibrate
from stages.evaluate import __main__ as evaluate
from stages.export import __main__ as export
from stages.params.params import Params
from stages.params.sample_use import SampleUse, write_sample_use
from stages.prepare import __main__ as prepare
from stages.train import __main__ as train

pytestmark = [pytest.mark.slow, pytest.mark.long]
ROWS = 60_000
"""So many that the test rows are two pieces."""


def large() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(ROWS, 3)).astype(np.float32), columns=list("abc"))
    table["kind"] = rng.choice(["x", "y", "z"], ROWS)
    table["when"] = pd.date_range("2020-01-01", periods=ROWS, freq="17min")
    table.loc[::7, "a"] = np.nan
    signal = table["a"].fillna(0) + (table["kind"] == "x") + rng.normal(size=ROWS)
    return table.assign(y=np.where(signal > 0.5, "yes", "no"))


@pytest.fixture
def project(tmp_path: Path, params: Callable[..., Params], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a trained model, in which the stages run."""
    monkeypatch.chdir(tmp_path)
    made = params(model="hist_gradient_boosting", n_estimators=5, calibration="sigmoid", features={"twice": "b * 2"})
    made = made.model_copy(update={"evaluate": made.evaluate.model_copy(update={"groups": ["kind"], "folds": 2})})
    with files.PARAMS.open("w", encoding="utf-8") as file:
        YAML().dump(made.model_dump(by_alias=True), file)
    rows, test, schema = prepare.prepare(large(), made)
    for path in (files.TRAIN, files.MODEL):
        path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(files.TRAIN, index=False)
    test.to_parquet(files.TEST, index=False)
    files.write_json(files.SCHEMA, schema.model_dump(mode="json"))
    predicted = train.predict_out_of_fold(rows, schema, made)
    predicted.write(files.OUT_OF_FOLD)
    fitted = calibrate(train.train(rows, schema.contract, made), rows, schema.contract, predicted, made)
    joblib.dump(fitted, files.MODEL)
    files.write_json(files.CANDIDATES, [])
    write_sample_use(SampleUse(rows=len(rows), of=len(rows), metric="roc_auc"))
    return tmp_path


def outputs(folder: Path) -> dict[str, str]:
    """Run both stages; return the MD5 of each file that they write."""
    export.main()
    evaluate.main()
    written = [folder / files.ONNX, *(each for each in sorted((folder / "metrics").rglob("*")) if each.is_file())]
    found = {str(path.relative_to(folder)): files.md5(path) for path in written}
    for path in written[1:]:
        if path.name not in (files.CANDIDATES.name, files.SAMPLE.name):
            path.unlink()
    return found


@pytest.fixture
def cluster(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the address of a scheduler with two workers, which know this project but none of its data."""
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("PYTHONPATH", str(root))
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}
    with distributed.LocalCluster(**options, local_directory=os.environ["HOME"]) as made:
        yield made.scheduler_address


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_outputs_are_the_same_on_one_process_two_and_a_cluster(
    project: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = outputs(project)
    monkeypatch.setenv("WORKERS", "2")
    two = outputs(project)
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster)
    spread = outputs(project)

    assert len(here) > 15
    assert here == two
    assert here == spread
