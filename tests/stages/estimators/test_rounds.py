"""The learning curve ends where the out-of-fold predictions are, and costs no fit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, root_mean_squared_error

from stages.estimators import out_of_fold
from stages.params.params import Params
from stages.prepare.__main__ import prepare

Make = Callable[..., Params]


def table(task: str, rows: int = 900) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(rows, 3)), columns=list("abc"))
    signal = X["a"] * X["b"] + rng.normal(size=rows)
    if task == "regression":
        return X.assign(y=1e6 + signal)  # far from zero: the target is standardised
    return X.assign(y=[f"class {each}" for each in pd.qcut(signal, 3 if task == "multiclass" else 2, labels=False)])


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("model", ["hist_gradient_boosting", "gradient_boosting"])
def test_the_last_round_has_the_loss_of_the_predictions(params: Make, task: str, model: str, tmp_path: Path) -> None:
    wanted = params(model=model, n_estimators=8)
    rows, _, schema = prepare(table(task), wanted)
    predicted = out_of_fold.predict(rows, schema.contract, schema.split, wanted)
    true, classes = rows["y"].to_numpy()[predicted.places], list(schema.contract.classes)
    losses = [
        log_loss(true[fold], predicted.scores[fold], labels=classes)
        if classes
        else root_mean_squared_error(true[fold], predicted.scores[fold])
        for fold in (predicted.folds == each for each in range(5))
    ]

    assert [point[0] for point in predicted.rounds] == list(range(1, 9))
    assert predicted.rounds[-1][2] == pytest.approx(np.mean(losses), rel=1e-6)
    assert [point[1] for point in predicted.rounds] == sorted((point[1] for point in predicted.rounds), reverse=True)
    predicted.write(tmp_path / "file.parquet")
    assert out_of_fold.read(tmp_path / "file.parquet").rounds == predicted.rounds


def test_a_model_without_rounds_has_no_curve(params: Make) -> None:
    wanted = params(model="random_forest", n_estimators=5)
    rows, _, schema = prepare(table("binary"), wanted)

    assert out_of_fold.predict(rows, schema.contract, schema.split, wanted).rounds == ()
