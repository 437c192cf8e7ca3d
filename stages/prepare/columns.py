"""Decide from the training rows which columns become features, and of which type."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from service.contract import BooleanFeature, CategoryFeature, DateFeature, Feature, NumberFeature
from service.encoding import DatePart, encode_dates
from stages import row_hash
from stages.bins import BINS, find_edges, shares
from stages.prepare import tail as _tail
from stages.schema import LeftOut
from stages.stored import BATCH, Table

MAX_CATEGORIES = 1000
"""The most frequent categories of a column that are kept; the rest count as unseen."""
_TEXT_WORDS = 4
_TEXT_LENGTH = 40
_UNIQUE_SHARE = 0.9
_REPEATING_SHARE = 0.5
"""Long values are free text if more than this share of them is unique, else long names of categories."""
_MIN_ROWS_FOR_IDENTIFIER = 20
_RUNNING_DENSITY = 0.25
"""A running number has at least this share of the numbers in its range, as the split takes rows out."""
_IDENTIFIER_WORDS = {"id", "ids", "uid", "uuid", "guid", "key", "index", "idx", "rowid", "userid", "rownum", "serial"}
_YEARS = (1500, 2200)
_ROWS_OF_A_CATEGORY = 10
"""A category with fewer training rows is ordered by the mean target of all rows, not by its own."""
_MOST_BEYOND = 0.75
"""A column is left out if more than this share of its later values is outside the training range or categories."""
_MOST_NEW = 0.25
"""A part of a date is left out if more than this share of its later values never occurred in training."""

Floats = npt.NDArray[np.float32]
Moments = npt.NDArray[np.datetime64]


def find_features(
    train: Table,
    excluded: Mapping[str, str],
    numbers: pd.Series | None = None,
    later: Table | None = None,
) -> tuple[list[Feature], list[LeftOut]]:
    """Return features and columns left out, in the order of `train`, which has no target column.

    `excluded` maps columns that are no features to the reason. `numbers` is the target of a regression, a
    value for each row of `train`: categories are ordered by it, so that one split of a tree separates those
    with low from those with high targets (Fisher 1958). `later` are the test rows of a split by time: a column
    whose values there are outside those of training is left out, since those of all future rows will be too.
    """
    features: list[Feature] = []
    left_out: list[LeftOut] = []
    for name in train.columns:
        decided = excluded.get(name) or _decide(train[name], None if later is None else later[name])
        if isinstance(decided, str):
            left_out.append(LeftOut(name=name, reason=decided))
        elif isinstance(decided, CategoryFeature) and numbers is not None:
            features.append(_order_categories(decided, train[name], numbers))
        else:
            features.append(decided)
    return features, left_out


def describe_input(column: pd.Series) -> Feature | None:
    """Return a column as a feature that only derived features use, whatever its values; None if it has none.

    A date has no parts yet.
    """
    if column.isna().all():
        return None
    if types.is_bool_dtype(column.dtype):
        return _boolean(column)
    if types.is_datetime64_any_dtype(column.dtype):
        return _any_date(column).model_copy(update={"parts": ()})
    return describe_number(column) if types.is_numeric_dtype(column.dtype) else _category(column)


def _decide(column: pd.Series, later: pd.Series | None) -> Feature | str:
    """Return the feature, or the reason why the column is left out."""
    known = column.dropna() if column.hasnans else column
    if known.empty:
        return "all values are missing"
    if len(known) == len(column) and bool((known == known.iloc[0]).all()):
        return f"constant: {known.iloc[0]!s:.40}"
    if types.is_bool_dtype(column.dtype):
        return _boolean(column)
    if types.is_datetime64_any_dtype(column.dtype):
        return _date(column, later)
    after = later.dropna() if later is not None and later.hasnans else later
    if types.is_numeric_dtype(column.dtype):
        return _reason_against_number(known, after) or describe_number(column)
    return _reason_against_text(known.astype("str"), after) or _category(column)


def _reason_against_number(known: pd.Series, later: pd.Series | None) -> str | None:
    """Return why a number is left out. Identifiers are whole and unique, and named so or running numbers."""
    values = known.to_numpy(np.float64)
    if len(known) >= _MIN_ROWS_FOR_IDENTIFIER and np.all(values % 1 == 0) and _all_differ(values):
        words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", str(known.name))
        if any(word.lower() in _IDENTIFIER_WORDS for word in words):
            return "identifier: whole numbers that differ in every row, and a name of identifiers"
        steps = np.diff(values)
        dense = len(values) >= _RUNNING_DENSITY * (np.ptp(values) + 1)
        are_years = values.min() >= _YEARS[0] and values.max() <= _YEARS[1]
        if (np.all(steps > 0) or np.all(steps < 0)) and dense and not are_years:
            return "identifier: a running number"
    low, high = known.min(), known.max()
    beyond = 0.0 if later is None else _mean((later < low) | (later > high))
    return (
        f"{beyond:.0%} of the later values lie beyond training's {low:g} to {high:g}" if beyond > _MOST_BEYOND else None
    )


def _all_differ(values: npt.NDArray[np.float64]) -> bool:
    """Return whether no number occurs twice; sorting takes a fraction of the memory of a hash table."""
    ordered = np.sort(values)
    return bool(np.all(ordered[1:] != ordered[:-1]))


def _reason_against_text(known: pd.Series, later: pd.Series | None) -> str | None:
    distinct = _count_different(known)
    is_long = _average(known, lambda texts: texts.str.len()) > _TEXT_LENGTH
    if distinct < _UNIQUE_SHARE * len(known) and distinct <= max(MAX_CATEGORIES, len(known) // 2):
        if is_long and distinct > max(BINS * 2, _REPEATING_SHARE * len(known)):
            return f"free text: long values, {distinct:,} different ones in {len(known):,} rows"
    elif len(known) >= _MIN_ROWS_FOR_IDENTIFIER:
        spaced = is_long and _average(known, lambda texts: texts.str.contains(r"\s")) > _UNIQUE_SHARE
        if spaced or _average(known, lambda texts: texts.str.count(r"\s")) >= _TEXT_WORDS - 1:
            return f"free text: {distinct:,} different texts of several words in {len(known):,} rows"
        return f"identifier: {distinct:,} different values in {len(known):,} rows"
    unseen = 0.0 if later is None else _mean(~later.isin(known.unique()))
    return (
        f"{unseen:.0%} of the later values are categories that are not in training" if unseen > _MOST_BEYOND else None
    )


def _average(texts: pd.Series, measure: Callable[[pd.Series], pd.Series]) -> float:
    """Return the mean of what `measure` returns for texts; in pieces, because pandas makes an object of each text."""
    pieces = (texts.iloc[start : start + BATCH] for start in range(0, len(texts), BATCH))
    return float(sum(int(measure(piece).sum()) for piece in pieces) / len(texts))


def _count_different(texts: pd.Series) -> int:
    """Return the number of different texts, or of their 64-bit hashes if nearly all of the first ones differ."""
    if len(texts) <= BATCH or 2 * texts.iloc[:BATCH].nunique() < BATCH:
        return texts.nunique()
    hashes = np.empty(len(texts), dtype=np.uint64)
    for start in range(0, len(texts), BATCH):
        piece = texts.iloc[start : start + BATCH].to_numpy(object)
        hashes[start : start + len(piece)] = pd.util.hash_array(piece, categorize=False)
    hashes.sort()
    return row_hash.count_different(hashes)


def describe_number(column: pd.Series) -> NumberFeature:
    """Return a column of numbers as a feature."""
    values = column.to_numpy(np.float32, na_value=np.nan)
    edges, bin_shares = _bins(values)
    return NumberFeature(
        name=str(column.name),
        nullable=bool(np.isnan(values).any()),
        minimum=float(np.nanmin(values)),
        maximum=float(np.nanmax(values)),
        bin_edges=edges,
        bin_shares=bin_shares,
    )


def _boolean(column: pd.Series) -> BooleanFeature:
    values = column.to_numpy(np.float32, na_value=np.nan)
    return BooleanFeature(
        name=str(column.name),
        nullable=bool(np.isnan(values).any()),
        bin_shares=(_mean(values == 0), _mean(values == 1), _mean(np.isnan(values))),
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
        bin_shares=(*(_digits(count / len(column)) for count in kept), _mean(missing)),
        unseen_share=_digits(tail.unseen),
        unseen_share_in_new_rows=_digits(tail.unseen_in_new),
        rare_share=_digits(tail.rare),
    )


def _order_categories(feature: CategoryFeature, column: pd.Series, numbers: pd.Series) -> CategoryFeature:
    """Order the categories by the mean of `numbers`, then by name; those with few rows get the overall mean."""
    places, names = column.factorize()
    about = pd.Series(numbers.to_numpy()).groupby(places).agg(["mean", "count"]).drop(index=-1, errors="ignore")
    about.index = pd.Index([str(names[place]) for place in about.index])
    means = about["mean"].where(about["count"] >= _ROWS_OF_A_CATEGORY, numbers.mean())
    shares = dict(zip(feature.categories, feature.bin_shares, strict=False))
    categories = sorted(feature.categories, key=lambda name: (means[name], name))
    bin_shares = (*(shares[name] for name in categories), feature.bin_shares[-1])
    return feature.model_copy(update={"categories": tuple(categories), "bin_shares": bin_shares})


def _any_date(column: pd.Series) -> DateFeature:
    moments = column.to_numpy("datetime64[us]")
    known = moments[~np.isnat(moments)]
    return DateFeature(
        name=str(column.name),
        nullable=len(known) < len(moments),
        minimum=str(known.min()),
        maximum=str(known.max()),
        parts=("days", "month", "day", "weekday", "hour"),
        bin_edges=(),
        # If the running day is no feature, later dates are no drift, so dates are only counted as known or missing.
        bin_shares=(_mean(~np.isnat(moments)), _mean(np.isnat(moments))),
    )


def _date(column: pd.Series, later: pd.Series | None) -> DateFeature | str:
    feature = _any_date(column)
    moments = column.to_numpy("datetime64[us]")
    known = moments[~np.isnat(moments)]
    after = None if later is None else later.dropna().to_numpy("datetime64[us]")
    parts = tuple(part for part in feature.parts if _recurs(part, known, after))
    if not parts:
        return "no part of the date that varies recurs in later rows"
    feature = feature.model_copy(update={"parts": parts})
    if "days" not in parts:
        return feature
    edges, bin_shares = _bins(_encode(moments, "days"))
    return feature.model_copy(update={"bin_edges": edges, "bin_shares": bin_shares})


def _encode(moments: Moments, part: DatePart) -> Floats:
    """Return a part of each date, in pieces, because several integers for each date take much memory."""
    pieces = range(0, max(len(moments), 1), BATCH)
    return np.concatenate([encode_dates(moments[start : start + BATCH], (part,))[:, 0] for start in pieces])


def _recurs(part: DatePart, known: Moments, later: Moments | None) -> bool:
    """Return whether this part varies, and its later values are in the training range (days) or occur in training."""
    old = _encode(known, part)
    low, high = old.min(), old.max()
    if later is None or low == high:
        return bool(low < high)
    new = _encode(later, part)
    if part == "days":
        return _mean((new < low) | (new > high)) <= _MOST_BEYOND
    return _mean(~np.isin(new, np.unique(old))) <= _MOST_NEW


def _bins(values: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the inner edges of quantile bins, and the share of rows in each and of those without a value."""
    edges = find_edges(values[~np.isnan(values)])
    return tuple(float(edge) for edge in edges), (*shares(edges, values), _mean(np.isnan(values)))


def _mean(mask: Any) -> float:
    marks = np.asarray(mask, dtype=bool)
    return _digits(np.count_nonzero(marks) / marks.size) if marks.size else 0.0


def _digits(share: float) -> float:
    return round(float(share), 12)
