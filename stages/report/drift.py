"""How far the test rows are from the training rows: the population stability index, counted as the service does."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from service.bins import feature_bins
from service.contract import Contract, DateFeature, Feature
from stages.stored import Table

FLOOR = 1e-4
"""No share counts as less, as in the rules of Prometheus."""
MAJOR = 0.2
"""Above it, the service raises an alert."""
_MICROSECONDS = 86_400e6


def drift(contract: Contract, rows: Table) -> dict[str, float]:
    """Return the index of each feature by name: of `rows` against the training rows in the contract."""
    return {feature.name: stability_index(feature, rows[feature.name]) for feature in contract.features}


def stability_index(feature: Feature, values: pd.Series) -> float:
    """Return Σ (live - reference) ln(live / reference) over the feature's bins."""
    bins = feature_bins(feature)
    places = _places(feature, values, bins.edges, bins.codes)
    live = np.bincount(places, minlength=len(bins.shares)) / max(len(values), 1)
    live, reference = np.maximum(live, FLOOR), np.maximum(bins.shares, FLOOR)
    return float(((live - reference) * np.log(live / reference)).sum())


def _places(
    feature: Feature, values: pd.Series, edges: tuple[float, ...], codes: npt.NDArray[np.intp] | None
) -> npt.NDArray[np.intp]:
    """Return the bin of each row; the last one of numbers and dates is for missing values."""
    if codes is not None:
        places: npt.NDArray[np.intp] = codes[feature.encode(values)[:, 0].astype(np.intp)]
        return places
    numbers = _days(values) if isinstance(feature, DateFeature) else feature.encode(values)[:, 0]
    below = np.searchsorted(np.asarray(edges, dtype=np.float32), numbers, side="left")
    return np.where(np.isnan(numbers), len(edges) + 1, below).astype(np.intp)


def _days(values: pd.Series) -> npt.NDArray[np.float32]:
    moments = values.to_numpy("datetime64[us]")
    days = moments.astype(np.int64).astype(np.float64) / _MICROSECONDS
    return np.where(np.isnat(moments), np.nan, days).astype(np.float32)
