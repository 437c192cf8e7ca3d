"""A target may have any unit: a huge one is learnt as well as a small one."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.train import __main__ as train


@pytest.mark.parametrize("model", ["xgboost", "hist_gradient_boosting"])
def test_a_huge_target_is_learnt(table: pd.DataFrame, params: Callable[..., Params], model: str) -> None:
    if model == "xgboost":
        pytest.importorskip("xgboost")
    wanted = params(model=model, n_estimators=30, features={}, data={"task": "regression"})
    rows, _, schema = prepare.prepare(table.assign(y=table["le"] * 1e30), wanted)
    predicted = train.train(rows, schema.contract, wanted).predict(rows)

    assert r2_score(rows["y"] / 1e30, np.asarray(predicted) / 1e30) > 0.7
