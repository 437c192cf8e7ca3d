"""Transformers of a fitted pipeline: the only modules of this project that a saved model needs."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin, clone

from service.cells import Value, parser
from service.contract import CategoryFeature, Contract, DateFeature, Feature
from service.encoding import MISSING, UNSEEN, Matrix

UNKNOWN_CODES = int(-min(MISSING, UNSEEN))
"""The number of codes below 0, of missing and unseen categories."""


class ContractEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The contract's encoder as a transformer: DataFrame in, float32 matrix out.

    Parameters
    ----------
    contract : str
        The contract as JSON, so that the pickled bytes depend on nothing else.
    """

    def __init__(self, contract: str) -> None:
        self.contract = contract

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:  # noqa: ARG002  # scikit-learn names them
        """Do nothing: `prepare` has written the contract."""
        return self

    def transform(self, X: pd.DataFrame) -> Matrix:
        """Encode the contract's columns of `X`, of any dtype; other columns are ignored.

        A nullable column may be absent. Text is read by the same rules as the training table.

        Raises ValueError for a value that its feature cannot take, and for an absent column.
        """
        contract = Contract.model_validate_json(self.contract)
        return contract.encode({feature.name: _values(X, feature, contract) for feature in contract.features})

    def __sklearn_is_fitted__(self) -> bool:
        return True


def _values(X: pd.DataFrame, feature: Feature, contract: Contract) -> pd.Series:
    """Return a feature's column with values that it can encode; each different value is parsed once."""
    if feature.name not in X:
        if not feature.nullable:
            raise ValueError(f"the table has no column {feature.name!r}, which the model needs")
        return pd.Series(np.full(len(X), None, dtype=object))
    column = X[feature.name]
    if _is_plain(column.dtype, feature):
        return column
    places, different = column.factorize()
    value = _reader(feature, contract)
    values = np.empty(len(different) + 1, dtype=object)  # the last one stays None, for the place -1
    values[:-1] = [value(each) for each in different]
    return pd.Series(values[places])


def _is_plain(dtype: Any, feature: Feature) -> bool:
    if isinstance(feature, DateFeature):
        return isinstance(dtype, np.dtype) and dtype.kind == "M"
    return not isinstance(feature, CategoryFeature) and types.is_numeric_dtype(dtype)


def _reader(feature: Feature, contract: Contract) -> Callable[[Any], Value]:
    """Return the function that turns a value of any type into one that the feature encodes."""
    parse = parser(feature.type, feature.name, contract.reading)
    if isinstance(feature, CategoryFeature):
        known = frozenset(feature.categories)
        return lambda value: next((name for name in _names(value) if name in known), None) or parse(str(value))

    def read(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return parse(value)
        except ValueError as error:
            raise ValueError(f"{feature.name}: got {value!r}; {error}") from None

    return read


def _names(value: Any) -> list[str]:
    """Return the possible names of a category: pandas may have a code such as 8001 as 8001 or as 8001.0."""
    if isinstance(value, float | np.floating) and value == np.floor(value):
        return [str(value), str(int(value))]
    return [str(value), f"{value}.0"] if isinstance(value, int | np.integer) else [str(value)]


class ShiftCodes(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Add `UNKNOWN_CODES` to the codes of categories, in the columns at these positions.

    Boosters take only codes from 0. For them, a missing and an unseen category are categories like all others.
    """

    def __init__(self, columns: list[int]) -> None:
        self.columns = columns

    def fit(self, X: Matrix, y: Any = None) -> Self:  # noqa: ARG002  # scikit-learn names them
        """Do nothing."""
        return self

    def transform(self, X: Matrix) -> Matrix:
        """Return a copy of `X` with codes from 0."""
        X = X.copy()
        X[:, self.columns] += UNKNOWN_CODES
        return X

    def __sklearn_is_fitted__(self) -> bool:
        return True


class FillBelow(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Replace missing values with a number below the column's minimum, so that one split of a tree separates them.

    Its distance from the minimum is the column's range: extra trees draw thresholds between the
    extremes, so half of them separate the missing values and half are within the range.
    """

    def fit(self, X: Matrix, y: Any = None) -> Self:  # noqa: ARG002  # scikit-learn names them
        """Learn each column's fill value, float32 of shape (columns,)."""
        fill = [_fill_value(column) for column in X.T]
        self.fill_: npt.NDArray[np.float32] = np.asarray(fill, dtype=np.float32)
        return self

    def transform(self, X: Matrix) -> Matrix:
        """Return a copy of `X` without NaN."""
        return np.where(np.isnan(X), self.fill_, X)


class BoosterClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of XGBoost or CatBoost for labels of any type, with the same bytes after each fit."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: Matrix, y: Any, **options: Any) -> Self:
        """Fit on the labels' positions in `classes_`."""
        self.classes_, codes = np.unique(np.asarray(y), return_inverse=True)
        self.estimator_ = _fit(self.estimator, X, codes, options)
        return self

    def predict_proba(self, X: Matrix) -> npt.NDArray[np.float64]:
        """Return probabilities of shape (rows, classes), in double precision."""
        if not hasattr(self.estimator_, "get_booster"):
            return np.asarray(self.estimator_.predict_proba(X))
        # XGBoost's probabilities are float32, and so is its 1 - p, which loses the digits of a small one.
        raw = self.estimator_.predict(X, output_margin=True).astype(np.float64)
        if raw.ndim > 1:
            return np.asarray(softmax(raw, axis=1))
        return np.stack([expit(-raw), expit(raw)], axis=1)

    def predict(self, X: Matrix) -> npt.NDArray[Any]:
        """Return each row's most probable label."""
        labels: npt.NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels


class BoosterRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A regressor of XGBoost or CatBoost that predicts doubles, with the same bytes after each fit."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: Matrix, y: Any, **options: Any) -> Self:
        """Fit on the values."""
        self.estimator_ = _fit(self.estimator, X, y, options)
        return self

    def predict(self, X: Matrix) -> npt.NDArray[np.float64]:
        """Return values of shape (rows,): XGBoost's sums are float32, which would round a large target."""
        return np.asarray(self.estimator_.predict(X), dtype=np.float64)


def _fit(estimator: Any, X: Matrix, y: Any, options: dict[str, Any]) -> Any:
    fitted = clone(estimator).fit(X, y, **options)
    if hasattr(fitted, "get_metadata"):  # CatBoost writes a random id and the time into its model
        fitted.get_metadata()["model_guid"] = ""
        fitted.get_metadata()["train_finish_time"] = ""
    return fitted


def _fill_value(column: npt.NDArray[np.float32]) -> float:
    known = column[~np.isnan(column)]
    if not len(known):
        return 0.0
    low, high = float(known.min()), float(known.max())
    # The last two are for a column of one value, where float32 would round a smaller gap away.
    gap = max(high - low, abs(low) * 1e-3, 1e-3)
    return max(low - gap, float(np.finfo(np.float32).min))
