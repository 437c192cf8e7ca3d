"""The fit: the same bytes everywhere, for every model, and what params ask of it."""

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import Pipeline

from stages import files
from stages.entry import run
from stages.errors import UserError
from stages.estimators import fitting, kinds
from stages.estimators.steps import FillBelow
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.train import __main__ as train

Make = Callable[..., Params]
BOOSTERS = ["lightgbm", "xgboost", "catboost"]
CLASSIFIERS = [
    "random_forest",
    "extra_trees",
    "gradient_boosting",
    "hist_gradient_boosting",
    "lightgbm",
    "logistic_regression",
]
CALIBRATIONS = [None, "sigmoid", "isotonic", "temperature"]
# Fits, calibrates and exports every model on the table in argv[1], and writes one MD5 a line.
PRINT_MD5 = """
import hashlib, io, json, sys
import joblib, pandas as pd
from stages.estimators import out_of_fold
from stages.estimators.calibration import calibrate
from stages.export.__main__ import export
from stages.prepare.__main__ import prepare
from stages.train.__main__ import train
from stages.params.params import Params
for raw in json.loads(sys.argv[2]):
    params = Params.model_validate(raw)
    rows, test, schema = prepare(pd.read_parquet(sys.argv[1]), params)
    predicted = out_of_fold.predict(rows, schema.contract, schema.split, params)
    pipeline = calibrate(train(rows, schema.contract, params), rows, schema.contract, predicted, params)
    joblib.dump(pipeline, file := io.BytesIO(), compress=3)
    for content in (schema.model_dump_json().encode(), file.getvalue(), export(pipeline, schema.contract)):
        print(params.model, hashlib.md5(content).hexdigest())
"""


def fit(table: pd.DataFrame, wanted: Params) -> tuple[Pipeline, pd.DataFrame]:
    rows, test, schema = prepare.prepare(table, wanted)
    return train.train(rows, schema.contract, wanted), test


@pytest.mark.slow
def test_bytes_depend_neither_on_cores_nor_on_hash_seed_nor_on_folder(
    hard_table: pd.DataFrame, params: Make, tmp_path: Path, root: Path
) -> None:
    hard_table.to_parquet(tmp_path / "table.parquet")
    wanted = [
        params(model=model, n_estimators=4, calibration=method).model_dump_json(by_alias=True)
        for model, method in zip([*CLASSIFIERS, "dummy"], cycle(CALIBRATIONS), strict=False)
    ]
    cores = sorted(os.sched_getaffinity(0))
    running = []
    for seed, allowed in (("1", cores[:1]), ("2", cores)):
        (tmp_path / seed).mkdir()
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            PRINT_MD5,
            str(tmp_path / "table.parquet"),
            f"[{','.join(wanted)}]",
        ]
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        os.sched_setaffinity(0, allowed)  # a child has its parent's
        running.append(subprocess.Popen(command, cwd=tmp_path / seed, env=environment, stdout=subprocess.PIPE))
        os.sched_setaffinity(0, cores)
    printed = [process.communicate(timeout=120)[0].splitlines() for process in running]

    assert len(printed[0]) == 3 * len(wanted)
    assert printed[0] == printed[1]


def test_another_seed_is_another_forest(table: pd.DataFrame, params: Make, tmp_path: Path) -> None:
    for seed in (1, 2):
        rows, _, schema = prepare.prepare(table, params())
        joblib.dump(train.train(rows, schema.contract, params(random_state=seed)), tmp_path / str(seed))

    assert (tmp_path / "1").read_bytes() != (tmp_path / "2").read_bytes()


@pytest.mark.parametrize("model", ["gradient_boosting", "logistic_regression", *BOOSTERS])
def test_balanced_classes_make_the_rare_one_likelier(table: pd.DataFrame, params: Make, model: str) -> None:
    table["y"] = np.where(table["le"] > 1.2, "rare", "usual")

    shares = []
    for class_weight in (None, "balanced"):
        pipeline, test = fit(table, params(model=model, class_weight=class_weight, min_samples_leaf=20))
        shares.append(pipeline.predict_proba(test)[:, 0].mean())

    assert shares[1] > shares[0] + 0.05


@pytest.mark.parametrize(
    ("model", "regression", "expected"),
    [
        ("logistic_regression", True, "model: 'logistic_regression' is not for regression; use random_forest"),
        ("ridge", False, "model: 'ridge' is not for binary; use random_forest"),
    ],
)
def test_a_model_of_another_task_is_refused(
    table: pd.DataFrame, params: Make, model: str, regression: bool, expected: str
) -> None:
    if regression:
        table["y"] = table["le"]
    with pytest.raises(UserError, match=expected):
        fit(table, params(model=model))


def test_balanced_classes_are_refused_for_a_regression(table: pd.DataFrame, params: Make) -> None:
    table["y"] = table["le"]
    with pytest.raises(UserError, match="class_weight: 'balanced' is not for regression; use null"):
        fit(table, params(class_weight="balanced"))


def test_a_changed_calibration_that_does_not_fit_is_refused_before_the_fit(
    table: pd.DataFrame, params: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows, _, schema = prepare.prepare(table.assign(y=table["le"]), params())
    monkeypatch.chdir(tmp_path)
    files.write_json(files.SCHEMA, schema.model_dump(mode="json"))
    rows.to_parquet(files.TRAIN)
    monkeypatch.setattr(train, "load_params", lambda: params(calibration="sigmoid"))

    with pytest.raises(UserError, match="calibration: 'sigmoid' is not for regression; use null"):
        train.main()


@pytest.mark.parametrize(("regression", "tried"), [(False, "sqrt"), (True, 1.0)])
def test_features_tried_at_a_split_suit_the_task(
    table: pd.DataFrame, params: Make, regression: bool, tried: object
) -> None:
    if regression:
        table["y"] = table["le"]

    pipeline, _ = fit(table, params(max_features="auto"))

    assert pipeline["estimator"].max_features == tried


@pytest.mark.parametrize(
    ("model", "regression", "size"),
    [
        ("random_forest", False, (None, 2)),
        ("extra_trees", True, (None, 1)),
        ("gradient_boosting", True, (3, 1)),
        ("hist_gradient_boosting", False, (None, 20)),
    ],
)
def test_trees_are_of_the_size_that_suits_model_and_task(
    table: pd.DataFrame, params: Make, model: str, regression: bool, size: tuple[int | None, int]
) -> None:
    if regression:
        table["y"] = table["le"]

    pipeline, _ = fit(table, params(model=model, max_depth="auto", min_samples_leaf="auto"))

    assert (pipeline["estimator"].max_depth, pipeline["estimator"].min_samples_leaf) == size


def test_a_forest_of_very_many_rows_has_a_limited_depth(table: pd.DataFrame, params: Make) -> None:
    contract = prepare.prepare(table, params())[2].contract
    most = kinds.FULL_DEPTH_ROWS

    depths = [kinds.build(contract, params(), rows)["estimator"].max_depth for rows in (most, most + 1)]

    assert depths == [None, kinds.DEPTH_BEYOND]


@pytest.mark.parametrize("change", [lambda y: y + 1e9, lambda y: y * 1e-12], ids=["far from zero", "tiny"])
def test_a_target_of_any_size_is_learnt_as_well(
    table: pd.DataFrame, params: Make, change: Callable[[pd.Series], pd.Series]
) -> None:
    table["y"] = change(table["le"])

    pipeline, test = fit(table, params(max_features=None))

    assert isinstance(pipeline["estimator"], TransformedTargetRegressor)
    assert pipeline.score(test, test["y"]) > 0.9


def test_a_missing_number_stands_below_the_others_as_far_as_they_spread() -> None:
    X = np.array([[1, np.nan, 5, np.nan], [3, 2, np.nan, np.nan], [np.nan, 2, 5, np.nan]], dtype=np.float32)

    filled = FillBelow().fit_transform(X)

    assert filled[2, 0] == -1
    assert filled[0, 1] < 2
    assert filled[1, 2] < 5
    assert not np.isnan(filled).any()


def test_a_fit_that_does_not_converge_is_noticed(
    table: pd.DataFrame, params: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stages.estimators.kinds.MAX_ITERATIONS", 2)

    pipeline, _ = fit(table, params(model="logistic_regression", l2_penalty=1e-9))

    assert fitting.has_not_converged(pipeline)


def test_of_many_rows_a_column_may_have_a_single_value(params: Make) -> None:
    wanted = params(model="hist_gradient_boosting", n_estimators=1)
    few = pd.DataFrame(np.random.default_rng(0).normal(size=(100, 8))).rename(columns=str).assign(y=[0, 1] * 50)
    contract = prepare.prepare(few, wanted)[2].contract
    rows = pd.DataFrame(np.full((250_000, 8), np.nan, np.float32)).rename(columns=str).assign(y=[0, 1] * 125_000)
    for place in range(8):
        rows.loc[place * 30_000, str(place)] = 1.0

    fitting.fit(rows, contract, wanted)  # of the 200,000 rows that scikit-learn draws, a column has no value


def test_a_package_that_is_not_installed_is_named_with_the_command_that_installs_it(
    table: pd.DataFrame, params: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)  # as if it weren't installed
    monkeypatch.setattr(sys, "argv", ["train"])

    def main() -> None:
        fit(table, params(model="xgboost"))

    with pytest.raises(SystemExit, match="1"):
        run(main)

    expected = "the model needs xgboost, which isn't installed; run `make .venv/.xgboost`"
    assert capsys.readouterr().err.endswith(f": error: {expected}\n")
