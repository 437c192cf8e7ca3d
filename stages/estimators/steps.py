"""The transformers of our own inside a fitted pipeline: all the code of this project that a saved model needs."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types
from sklearn.base import BaseEstimator, TransformerMixin

from service.cells import Value, parser
from service.contract import CategoryFeature, Contract, DateFeature, Feature
from service.encoding import Matrix


class ContractEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The contract's encoder as a transformer: DataFrame in, float32 matrix out.

    Parameters
    ----------
    contract : str
        The contract as JSON, so that the pickled bytes depend on it alone.
    """

    def __init__(self, contract: str) -> None:
        self.contract = contract

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:  # noqa: ARG002  # scikit-learn names them
        """Learn nothing; the contract was decided by `prepare`."""
        return self

    def transform(self, X: pd.DataFrame) -> Matrix:
        """Encode the contract's columns of `X`, whatever else it holds and whatever dtypes pandas gave it.

        A nullable column may be absent. Text is read by the rules that the training table was read by.

        Raises ValueError for a value that its feature cannot take, and for an absent column.
        """
        contract = Contract.model_validate_json(self.contract)
        return contract.encode({feature.name: _values(X, feature, contract) for feature in contract.features})

    def __sklearn_is_fitted__(self) -> bool:
        return True


def _values(X: pd.DataFrame, feature: Feature, contract: Contract) -> pd.Series:
    """Return the column of a feature with values that it encodes, each different value looked at once."""
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
    """Return what a category may be called: a code such as 8001 may come as a whole number or with a fraction of 0."""
    if isinstance(value, float | np.floating) and value == np.floor(value):
        return [str(value), str(int(value))]
    return [str(value), f"{value}.0"] if isinstance(value, int | np.integer) else [str(value)]


class FillBelow(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Put a number below a column's smallest in place of a missing one, so that one split of a tree sets it apart.

    It stands as far below as the column's values spread: the thresholds that extra trees draw
    between the extremes then fall among the values as often as beside them.
    """

    def fit(self, X: Matrix, y: Any = None) -> Self:  # noqa: ARG002  # scikit-learn names them
        """Learn each column's fill value, float32 of shape (columns,)."""
        fill = [_below(column) for column in X.T]
        self.fill_: npt.NDArray[np.float32] = np.asarray(fill, dtype=np.float32)
        return self

    def transform(self, X: Matrix) -> Matrix:
        """Give a copy of `X` without NaN."""
        return np.where(np.isnan(X), self.fill_, X)


def _below(column: npt.NDArray[np.float32]) -> float:
    known = column[~np.isnan(column)]
    if not len(known):
        return 0.0
    low, high = float(known.min()), float(known.max())
    # The second and third count for a column of one value: the gap must not vanish in float32.
    gap = max(high - low, abs(low) * 1e-3, 1e-3)
    return max(low - gap, float(np.finfo(np.float32).min))
