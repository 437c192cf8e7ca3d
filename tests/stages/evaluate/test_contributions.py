"""Mean contributions: what matters comes first, and they are those that the service explains."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import service.model
from stages.evaluate.contributions import explain_rows
from stages.export import __main__ as export
from stages.params.params import Params
from stages.partitions.served import score as score_rows
from stages.prepare import __main__ as prepare
from stages.train import __main__ as train

ROWS = 300


@pytest.mark.parametrize(
    ("task", "model"),
    [("binary", "random_forest"), ("multiclass", "logistic_regression"), ("regression", "ridge")],
)
def test_the_column_that_decides_the_target_comes_first(params: Callable[..., Params], task: str, model: str) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({name: rng.normal(size=ROWS) for name in ("noise", "rules", "other")})
    bins = {"binary": 2, "multiclass": 3}
    table["y"] = pd.qcut(table["rules"], bins[task], labels=False) if task in bins else table["rules"] * 10
    wanted = params(model=model, data={"task": "classification" if task in bins else task})
    rows, test, schema = prepare.prepare(table, wanted)
    pipeline = train.train(rows, schema.contract, wanted)
    made = service.model.from_bytes(export.export(pipeline, schema.contract), "m.onnx")
    about = export.describe(made, rows, score_rows(made, test))
    explained = service.model.from_bytes(export.export(pipeline, schema.contract, **about), "m.onnx")

    contributions = explain_rows(explained, test, 0.5)

    found = contributions.means()

    assert found["feature"][0] == "rules"
    assert sorted(found["feature"]) == ["noise", "other", "rules"]
    if task == "regression":  # linear: the slope times the distance from the mean
        expected = (10 * (test["rules"] - rows["rules"].mean())).abs().mean()
        assert found["contribution"][0] == pytest.approx(expected, rel=0.1)
    curves = contributions.dependence()
    if task == "multiclass":
        assert curves.empty
    else:
        curve = curves[curves["class"] == "rules"]
        assert curve["contribution"].iloc[0] * curve["contribution"].iloc[-1] < 0
        assert curve["share"].is_monotonic_increasing
        assert curve["value"].astype(float).is_monotonic_increasing
