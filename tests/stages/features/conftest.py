"""A table with missing values of every kind, and a pipeline with derived features on it."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from service.contract import BooleanFeature, CategoryFeature, Contract, DateFeature, NumberFeature
from service.model import Model, from_bytes, open_session
from stages.errors import UserError
from stages.export import __main__ as export
from stages.features import graph
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.schema import Schema
from stages.train import __main__ as train

ROWS = 400


@dataclass(frozen=True)
class Fitted:
    """A pipeline, its file, and the rows it was fitted on."""

    pipeline: Pipeline
    schema: Schema
    train: pd.DataFrame
    test: pd.DataFrame

    @property
    def contract(self) -> Contract:
        return self.schema.contract

    @property
    def content(self) -> bytes:
        return export.export(self.pipeline, self.contract)

    @property
    def model(self) -> Model:
        return from_bytes(self.content, "model.onnx")

    def derived(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the derived features of `rows` as the estimator gets them."""
        matrix = self.pipeline["derive"].transform(self.contract.encode(rows))
        names = list(self.contract.derived)
        return pd.DataFrame(matrix[:, -len(names) :], columns=names)


@pytest.fixture
def columns() -> pd.DataFrame:
    """Return numbers, categories, flags and dates, a part of all missing, and the target y."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "u": rng.normal(size=ROWS) * 10,
            "v": rng.integers(-5, 6, ROWS) / 2,
            "tiny": rng.normal(size=ROWS) * 1e-9,
            "class": rng.choice(["é", "x|y", "<script>"], ROWS),
            "other": rng.choice(["é", "x|y", "zz"], ROWS),
            "flag": rng.random(ROWS) > 0.5,
            "sure": rng.random(ROWS) > 0.5,
            "when": pd.date_range("1999-12-01", periods=ROWS, freq="37h13min"),
        }
    )
    frame["sent"] = frame["when"] - pd.to_timedelta(rng.integers(-(10**12), 10**13, ROWS), unit="us")
    frame["y"] = np.where(frame["u"] + 5 * frame["flag"] > 0, "да", "нет")
    frame["flag"] = frame["flag"].astype("boolean")
    for name in ("u", "v", "class", "other", "flag", "when", "sent"):
        frame.loc[rng.random(ROWS) < 0.1, name] = pd.NaT if name in ("when", "sent") else None
    return frame


@pytest.fixture
def fit(params: Callable[..., Params], columns: pd.DataFrame) -> Callable[..., Fitted]:
    """Return a function that fits a model with derived features."""

    def make(features: dict[str, str], table: pd.DataFrame | None = None, **changes: Any) -> Fitted:
        wanted = params(**{"model": "hist_gradient_boosting", "features": features} | changes)
        rows, test, schema = prepare.prepare(columns if table is None else table, wanted)
        return Fitted(train.train(rows, schema.contract, wanted), schema, rows, test)

    return make


def as_float32(values: Any) -> npt.NDArray[np.float32]:
    """Return what a feature holds for pandas' result: float32, and NaN for what is missing or infinite."""
    with np.errstate(over="ignore"):
        numbers = pd.Series(values).to_numpy(np.float64, na_value=np.nan).astype(np.float32)
    return np.where(np.isfinite(numbers), numbers, np.float32(np.nan))


@pytest.fixture(scope="module")
def checked() -> Callable[[str], None]:
    """Return a function that runs an expression on a row, or finds that it is refused in one line."""
    number = {"nullable": True, "minimum": 0, "maximum": 1, "bin_edges": (), "bin_shares": (1, 0)}
    category = {"nullable": True, "bin_shares": (0.5, 0.5, 0), "unseen_share": 0}
    features = (
        NumberFeature(name="u", **number),
        NumberFeature(name="v", **number),
        BooleanFeature(name="sure", nullable=True, bin_shares=(0.5, 0.5, 0)),
        CategoryFeature(name="other", categories=("zz", "é"), **category),
        CategoryFeature(name="class", categories=("x|y", "é"), **category),
        DateFeature(
            name="when",
            nullable=True,
            minimum="2000-01-01",
            maximum="2001-01-01",
            bin_edges=(),
            bin_shares=(1, 0),
            parts=("hour", "weekday", "month", "day", "dayofyear", "date", "second", "microsecond"),
        ),
    )
    rows = np.array([[np.nan, 0, 1, -2, -1, *range(8)], [3e38, -1, np.nan, 1, 0, *[np.nan] * 8]], np.float32)

    def check(text: str) -> None:
        contract = Contract(task="regression", target="y", classes=(), features=features, derived={"x": text})
        with contextlib.suppress(UserError):
            built = graph.build(contract)
            matrix = open_session(graph.to_bytes(built.model)).run(None, {"X": rows})[0]
            assert matrix.shape == (2, 14)
            assert not np.isinf(matrix).any()

    return check
