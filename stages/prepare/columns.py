"""Which columns become features, and of which kind: decided from the training rows alone."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pandas.api import types

from service.contract import BooleanFeature, CategoryFeature, DateFeature, Feature, NumberFeature
from stages.prepare import beyond
from stages.prepare import tail as _tail
from stages.schema import LeftOut

if TYPE_CHECKING:
    from service.encoding import DatePart

BINS = 10
MAX_CATEGORIES = 1000
"""The most frequent categories of a column that are kept; the rest count as unseen."""
_TEXT_WORDS = 4
_TEXT_LENGTH = 40
_UNIQUE_SHARE = 0.9
_REPEATING_SHARE = 0.5
"""Long values are free text if more than this share of them differs, else long names of categories."""
_MIN_ROWS_FOR_IDENTIFIER = 20
_RUNNING_DENSITY = 0.25
"""Of the numbers that a running number passes, at least this share is still there after the split."""
_IDENTIFIER_WORDS = {"id", "ids", "uid", "uuid", "guid", "key", "index", "idx", "rowid", "userid", "rownum", "serial"}
_YEARS = (1500, 2200)
_ROWS_OF_A_CATEGORY = 10
"""A category of fewer training rows says too little about a target of numbers to be ordered by it."""


@dataclass(frozen=True, slots=True)
class Roles:
    """What the columns are for, beside being features."""

    target: str
    group_column: str | None = None
    key: str | None = None


def find_features(
    train: pd.DataFrame, roles: Roles, numbers: pd.Series | None = None, later: pd.DataFrame | None = None
) -> tuple[list[Feature], list[LeftOut]]:
    """Decide about every column of `train` but the target, in the table's order.

    `numbers` is the target of a regression, a value for each row of `train`: categories are
    ordered by it, so that a tree parts the cheap ones from the dear ones by one split (Fisher 1958).
    `later` are the test rows of a split by time: numbers and dates whose values there lie beyond
    those of training are left out, since every row to come will lie there too.
    """
    features: list[Feature] = []
    left_out: list[LeftOut] = []
    for name in train.columns:
        if name == roles.target:
            continue
        decided = _decide(train[name], name, roles, None if later is None else later[name])
        if isinstance(decided, LeftOut):
            left_out.append(decided)
        elif isinstance(decided, CategoryFeature) and numbers is not None:
            features.append(_ordered(decided, train[name], numbers))
        else:
            features.append(decided)
    return features, left_out


def in_words(features: Iterable[Feature], left_out: Iterable[LeftOut]) -> dict[str, str]:
    """Say in a few words what each column became."""
    return {each.name: _words(each) for each in features} | {each.name: f"left out: {each.reason}" for each in left_out}


def _words(feature: Feature) -> str:
    missing = f"; {feature.bin_shares[-1]:.2%} missing" if feature.nullable else ""
    strict = "; others are refused" if feature.strict else ""
    match feature:
        case NumberFeature():
            what = f"number from {feature.minimum:g} to {feature.maximum:g}"
        case BooleanFeature():
            what = f"boolean, true in {feature.bin_shares[1]:.2%}"
        case CategoryFeature():
            what = f"category, one of {len(feature.categories):,}"
            what += " most frequent" if len(feature.categories) == MAX_CATEGORIES else ""
        case DateFeature():
            what = f"date from {feature.minimum} to {feature.maximum}, by {', '.join(feature.parts)}"
    return what + missing + strict


def _decide(column: pd.Series, name: str, roles: Roles, later: pd.Series | None) -> Feature | LeftOut:
    reason = _reason_of_role(name, roles) or _reason_to_leave_out(column)
    if reason is None and later is not None:
        reason = beyond.reason(column, later)
    if reason:
        return LeftOut(name=name, reason=reason)
    if types.is_bool_dtype(column.dtype):
        return _boolean(column)
    if types.is_datetime64_any_dtype(column.dtype):
        return _date(column, later)
    return _number(column) if types.is_numeric_dtype(column.dtype) else _category(column)


def _reason_of_role(name: str, roles: Roles) -> str | None:
    if name == roles.group_column:
        return "names the group of the split; every test row has another"
    if name == roles.key:
        return "identifies the row (split.key)"
    return None


def _reason_to_leave_out(column: pd.Series) -> str | None:
    known = column.dropna()
    if known.empty:
        return "all values are missing"
    distinct = known.nunique()
    if distinct == 1 and len(known) == len(column):
        return f"constant: {known.iloc[0]!s:.40}"
    if types.is_bool_dtype(known.dtype) or types.is_datetime64_any_dtype(known.dtype):
        return None
    if types.is_numeric_dtype(known.dtype):
        return _reason_against_number(known, distinct)
    return _reason_against_text(known.astype("str"), distinct)


def _reason_against_number(known: pd.Series, distinct: int) -> str | None:
    """Measurements may differ in every row as well: an identifier is whole, and named so or a running number."""
    if distinct < len(known) or len(known) < _MIN_ROWS_FOR_IDENTIFIER:
        return None
    values = known.to_numpy(np.float64)
    if not np.all(values % 1 == 0):
        return None
    if _is_named_identifier(str(known.name)):
        return "identifier: whole numbers that differ in every row, and the name says so"
    steps = np.diff(values)
    running = np.all(steps > 0) or np.all(steps < 0)
    dense = len(values) >= _RUNNING_DENSITY * (np.ptp(values) + 1)
    are_years = values.min() >= _YEARS[0] and values.max() <= _YEARS[1]
    return "identifier: a running number" if running and dense and not are_years else None


def _is_named_identifier(name: str) -> bool:
    """Tell whether a word of a name such as ``customer_id``, ``PassengerId`` or ``row key`` means an identifier."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return any(word.lower() in _IDENTIFIER_WORDS for word in words)


def _reason_against_text(known: pd.Series, distinct: int) -> str | None:
    is_long = known.str.len().mean() > _TEXT_LENGTH
    if distinct < _UNIQUE_SHARE * len(known) and distinct <= max(MAX_CATEGORIES, len(known) // 2):
        is_text = is_long and distinct > max(BINS * 2, _REPEATING_SHARE * len(known))
        return f"free text: long values, {distinct:,} different ones in {len(known):,} rows" if is_text else None
    if len(known) < _MIN_ROWS_FOR_IDENTIFIER:
        return None
    if known.str.count(r"\s").mean() >= _TEXT_WORDS - 1 or (
        is_long and known.str.contains(r"\s").mean() > _UNIQUE_SHARE
    ):
        return f"free text: {distinct:,} different texts of several words in {len(known):,} rows"
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
    counts = {str(name): count for name, count in column.dropna().astype("str").value_counts().items()}
    # Most frequent first, then by name: the same order whatever the order of the rows.
    categories = sorted(sorted(counts, key=lambda name: (-counts[name], name))[:MAX_CATEGORIES])
    missing = column.isna().to_numpy()
    kept = np.array([counts.pop(name) for name in categories])
    tail = _tail.measure(kept, np.array(list(counts.values()), dtype=np.int64), len(column))
    return CategoryFeature(
        name=str(column.name),
        nullable=bool(missing.any()),
        categories=tuple(categories),
        bin_shares=(*(_digits(count / len(column)) for count in kept), _share(missing)),
        unseen_share=_digits(tail.unseen),
        unseen_share_in_new_rows=_digits(tail.unseen_in_new),
        rare_share=_digits(tail.rare),
    )


def _ordered(feature: CategoryFeature, column: pd.Series, numbers: pd.Series) -> CategoryFeature:
    """Order the categories by the mean of `numbers`, then by name; those of few rows stand at the mean of all."""
    known = column.notna().to_numpy()
    names = column[known].astype("str").to_numpy()
    about = numbers[known].groupby(names).agg(["mean", "count"])
    means = about["mean"].where(about["count"] >= _ROWS_OF_A_CATEGORY, numbers.mean())
    shares = dict(zip(feature.categories, feature.bin_shares, strict=False))
    categories = sorted(feature.categories, key=lambda name: (means[name], name))
    bin_shares = (*(shares[name] for name in categories), feature.bin_shares[-1])
    return feature.model_copy(update={"categories": tuple(categories), "bin_shares": bin_shares})


def _date(column: pd.Series, later: pd.Series | None) -> DateFeature | LeftOut:
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
    lasting = every if later is None else beyond.lasting_parts(probe, column, later)
    parts = tuple(part for part, values in zip(every, encoded.T, strict=True) if part in lasting and np.ptp(values) > 0)
    if not parts:
        return LeftOut(name=str(column.name), reason="no part of the date that varies occurs again in later rows")
    if "days" in parts:
        edges, shares = _bins(probe.model_copy(update={"parts": ("days",)}).encode(moments)[:, 0])
    else:  # later dates lie beyond any bin of the running day, and that is no drift
        edges, shares = (), (_share(~np.isnat(moments)), _share(np.isnat(moments)))
    return probe.model_copy(update={"parts": parts, "bin_edges": edges, "bin_shares": shares})


def _bins(values: np.ndarray[tuple[int], np.dtype[np.float32]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    known = values[~np.isnan(values)]
    quantiles = np.quantile(known, np.arange(1, BINS) / BINS, method="lower")
    edges = np.unique(np.concatenate([quantiles, _below_frequent(known, quantiles)]))
    edges = edges[edges < known.max()]
    counts = np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1)
    shares = [_digits(count / len(values)) for count in counts]
    return tuple(float(edge) for edge in edges), (*shares, _share(np.isnan(values)))


def _below_frequent(
    known: np.ndarray[tuple[int], np.dtype[np.float32]], quantiles: np.ndarray[tuple[int], np.dtype[np.float32]]
) -> list[np.float32]:
    """List the values just below those that are several quantiles, so that these have a bin of their own."""
    frequent, times = np.unique(quantiles, return_counts=True)
    below = (known[known < value] for value in frequent[times > 1])
    return [values.max() for values in below if values.size]


def _share(mask: Sequence[bool] | np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
    return _digits(float(np.count_nonzero(mask)) / len(mask))


def _digits(share: float) -> float:
    return round(float(share), 12)
