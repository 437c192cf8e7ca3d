"""Which columns become features, and of which kind: decided from the training rows alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api import types

from service.contract import BooleanFeature, CategoryFeature, DateFeature, DatePart, Feature, NumberFeature
from stages._schema import LeftOut

BINS = 10
MAX_CATEGORIES = 1000
"""The most frequent categories of a column that are kept; the rest count as unseen."""
_TEXT_WORDS = 4
_TEXT_LENGTH = 40
_UNIQUE_SHARE = 0.9
_MIN_ROWS_FOR_IDENTIFIER = 20


@dataclass(frozen=True, slots=True)
class Roles:
    """What the columns are for, beside being features."""

    target: str
    time_column: str | None
    group_column: str | None


def find_features(train: pd.DataFrame, roles: Roles) -> tuple[list[Feature], list[LeftOut]]:
    """Decide about every column of `train` but the target, in the table's order."""
    features: list[Feature] = []
    left_out: list[LeftOut] = []
    for name in train.columns:
        if name == roles.target:
            continue
        decided = LeftOut(name=name, reason="names the group of the split") if name == roles.group_column else None
        decided_or_feature = decided or _decide(train[name], by_time=name == roles.time_column)
        if isinstance(decided_or_feature, LeftOut):
            left_out.append(decided_or_feature)
        else:
            features.append(decided_or_feature)
    return features, left_out


def _decide(column: pd.Series, *, by_time: bool) -> Feature | LeftOut:
    reason = _reason_to_leave_out(column)
    if reason:
        return LeftOut(name=str(column.name), reason=reason)
    if types.is_bool_dtype(column.dtype):
        return _boolean(column)
    if types.is_datetime64_any_dtype(column.dtype):
        return _date(column, by_time=by_time)
    if types.is_numeric_dtype(column.dtype):
        if by_time:
            return LeftOut(name=str(column.name), reason="orders the rows of the split; every new row is beyond it")
        return _number(column)
    return _category(column)


def _reason_to_leave_out(column: pd.Series) -> str | None:
    known = column.dropna()
    if known.empty:
        return "all values are missing"
    distinct = known.nunique()
    if distinct == 1 and len(known) == len(column):
        return f"constant: {known.iloc[0]!s:.40}"
    if types.is_integer_dtype(known.dtype) and _is_numbering(known, distinct):
        return "identifier: whole numbers that differ in every row and count through"
    if types.is_object_dtype(known.dtype) or types.is_string_dtype(known.dtype):
        return _reason_against_text(known.astype(str), distinct)
    return None


def _is_numbering(known: pd.Series, distinct: int) -> bool:
    if distinct < len(known) or len(known) < _MIN_ROWS_FOR_IDENTIFIER:
        return False
    named = str(known.name).lower().replace("-", "_").split("_")[-1] in {"id", "key", "uuid", "index", "rowid"}
    counts_through = int(known.max()) - int(known.min()) < 2 * len(known)
    return named or bool(counts_through and (known.is_monotonic_increasing or known.is_monotonic_decreasing))


def _reason_against_text(known: pd.Series, distinct: int) -> str | None:
    if distinct < _UNIQUE_SHARE * len(known) and distinct <= max(MAX_CATEGORIES, len(known) // 2):
        long = known.str.len().mean() > _TEXT_LENGTH and distinct > BINS * 2
        return "free text: long values" if long else None
    if known.str.count(r"\s").mean() >= _TEXT_WORDS - 1 or known.str.len().mean() > _TEXT_LENGTH:
        return "free text: nearly every value is a different text of several words"
    if len(known) < _MIN_ROWS_FOR_IDENTIFIER:
        return None
    return f"identifier: {distinct:,} different values in {len(known):,} rows"


def _number(column: pd.Series) -> NumberFeature:
    values = column.to_numpy(np.float32, na_value=np.nan)
    edges, shares = _bins(values)
    return NumberFeature(
        name=str(column.name),
        nullable=bool(np.isnan(values).any()),
        minimum=float(np.nanmin(values)),
        maximum=float(np.nanmax(values)),
        bin_edges=edges,
        bin_shares=shares,
    )


def _boolean(column: pd.Series) -> BooleanFeature:
    values = column.to_numpy(np.float32, na_value=np.nan)
    return BooleanFeature(
        name=str(column.name),
        nullable=bool(np.isnan(values).any()),
        bin_shares=(_share(values == 0), _share(values == 1), _share(np.isnan(values))),
    )


def _category(column: pd.Series) -> CategoryFeature:
    counts = column.dropna().astype(str).value_counts()
    # Most frequent first, then by name: the same order whatever the order of the rows.
    kept = sorted(sorted(counts.index), key=lambda name: -counts[name])[:MAX_CATEGORIES]
    categories = sorted(kept)
    missing = column.isna().to_numpy()
    return CategoryFeature(
        name=str(column.name),
        nullable=bool(missing.any()),
        categories=tuple(categories),
        bin_shares=(*(_digits(counts[name] / len(column)) for name in categories), _share(missing)),
    )


def _date(column: pd.Series, *, by_time: bool) -> DateFeature | LeftOut:
    moments = column.to_numpy("datetime64[us]")
    known = moments[~np.isnat(moments)]
    every: tuple[DatePart, ...] = ("days", "month", "day", "weekday", "hour")
    probe = DateFeature(
        name=str(column.name),
        nullable=len(known) < len(moments),
        minimum=str(known.min()),
        maximum=str(known.max()),
        parts=every,
        bin_edges=(),
        bin_shares=(),
    )
    encoded = probe.encode(known)
    vary = [part for part, values in zip(every, encoded.T, strict=True) if np.ptp(values) > 0]
    parts = tuple(part for part in vary if not (by_time and part == "days"))
    if not parts:
        return LeftOut(name=str(column.name), reason="no part of the date but the running day varies")
    days = probe.model_copy(update={"parts": ("days",)}).encode(moments)[:, 0]
    edges, shares = _bins(days)
    return probe.model_copy(update={"parts": parts, "bin_edges": edges, "bin_shares": shares})


def _bins(values: np.ndarray[tuple[int], np.dtype[np.float32]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    known = values[~np.isnan(values)]
    quantiles = np.quantile(known, np.arange(1, BINS) / BINS, method="lower")
    edges = np.unique(quantiles[quantiles < known.max()])
    counts = np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1)
    shares = [_digits(count / len(values)) for count in counts]
    return tuple(float(edge) for edge in edges), (*shares, _share(np.isnan(values)))


def _share(mask: Sequence[bool] | np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
    return _digits(float(np.count_nonzero(mask)) / len(mask))


def _digits(share: float) -> float:
    return round(float(share), 12)
