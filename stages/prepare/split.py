"""Split rows into training and test rows, and find those that another model was not trained on."""

from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api import types

from stages import row_hash
from stages.errors import NotComparableError, UserError
from stages.params.sections import DataParams, SplitParams
from stages.row_hash import Hashes
from stages.schema import Kind, Split
from stages.stored import Table

Mask = npt.NDArray[np.bool_]
SMALLEST_SHARE = 0.05
LARGEST_SHARE = 0.6
"""The test rows are at least and at most this share of all rows."""
_READING = ("missing", "delimiter", "encoding", "decimal", "dates")
_EXACT_IN_FLOAT32 = 2.0**24


def split_rows(table: Table, content: Hashes, params: SplitParams) -> Mask:
    """Mark the test rows, boolean of shape (rows,).

    random: the rows whose hash, from 0 to 1, is below `test_size`; it is the hash of `split.key`,
    or else `content`, so that equal rows stay together. group: the same with the hash of the group.
    In both, a row never changes sides as the table grows. time: the latest rows; rows of one moment
    stay together.

    Raises UserError where the table does not allow the split.
    """
    if params.method == "time":
        return _by_time(_column(table, params), params.test_size)
    hashes = content if params.column is None else row_hash.keys(_column(table, params))
    test = row_hash.below(hashes, params.test_size)
    share = float(test.mean())
    if not min(SMALLEST_SHARE, params.test_size / 2) <= share <= LARGEST_SHARE or test.all() or not test.any():
        raise UserError(_explain_share(hashes, params, share))
    return test


def reading_of(data: DataParams) -> dict[str, Any]:
    """Return the settings that affect how a cell is read and differ from their defaults."""
    return data.model_dump(mode="json", include=set(_READING), exclude_defaults=True)


def describe(table: Table, content: dict[str, Kind], test: Mask, data: DataParams, params: SplitParams) -> Split:
    """Return the rule of the split, from which the side of any row follows.

    `content` are the columns in the hash of a row's content.
    """
    column = params.column
    ends = _ends(table[column], test) if params.method == "time" and column else {}
    return Split(
        method=params.method,
        column=column,
        test_size=params.test_size,
        share=round(float(test.mean()), 6),
        content=content,
        reading=reading_of(data),
        hash_column=next(name for n in count() if (name := "split_hash" + "_" * n) not in table.columns),
        **ends,
    )


def unseen_rows(ours: Split, theirs: Split, rows: pd.DataFrame) -> Mask:
    """Mark the rows of our test table that the model split by `theirs` was not trained on.

    `rows` are those of ``test.parquet``: they hold the features, the columns of our split and
    the hash of each row's content.

    Raises NotComparableError if that is unknown, or if there are no such rows.
    """
    if theirs.method == "time":
        unseen = _later(ours, theirs, rows)
    elif theirs.test_size is None:
        raise NotComparableError("its run does not say how its test rows were chosen")
    elif theirs.column is not None:
        unseen = row_hash.below(_keys(theirs.column, rows), theirs.test_size)
        unseen &= rows[theirs.column].notna().to_numpy()
    else:
        unseen = row_hash.below(_content(ours, theirs, rows), theirs.test_size)
    if not unseen.any():
        raise NotComparableError("it was trained on every one of the test rows")
    return unseen


def _later(ours: Split, theirs: Split, rows: pd.DataFrame) -> Mask:
    column = str(theirs.column)
    if column not in rows or theirs.train_to is None:
        raise NotComparableError(f"its rows were split by time, and the test rows have no column {column!r}")
    if theirs.reading.get("dates") != ours.reading.get("dates"):
        raise NotComparableError("data.dates has changed since, so its dates may have been read differently")
    try:
        moments = _moments(rows[column])
        last = pd.Timestamp(theirs.train_to) if moments.dtype.kind == "M" else pd.to_numeric(theirs.train_to)
        # Features are rounded to float32, which keeps the order: what is later here was later before.
        later: Mask = moments > np.array(last, dtype=moments.dtype)
    except (ValueError, TypeError, UserError):
        raise NotComparableError(
            f"its last training moment is {theirs.train_to}, which does not compare with {column!r}"
        ) from None
    return later


def _keys(column: str, rows: pd.DataFrame) -> Hashes:
    if column not in rows:
        raise NotComparableError(f"its rows were split by {column!r}, and the test rows have no such column")
    values = rows[column]
    if values.dtype == np.float32 and (values.abs() >= _EXACT_IN_FLOAT32).any():
        raise NotComparableError(f"its rows were split by {column!r}, which is rounded in the test rows")
    return row_hash.keys(values)


def _content(ours: Split, theirs: Split, rows: pd.DataFrame) -> Hashes:
    remedy = "name a column that identifies the rows in split.key, and the next models can be compared"
    if ours.reading != theirs.reading:
        raise NotComparableError(f"the settings for reading its cells have changed since; {remedy}")
    gone = [name for name, kind in theirs.content.items() if ours.content.get(name) != kind]
    if gone:
        raise NotComparableError(f"it was split by content, and {gone[0]!r} is gone or of another type; {remedy}")
    added = [name for name in ours.content if name not in theirs.content]
    left = [name for name in added if name not in rows]
    if left or ours.hash_column not in rows:
        raise NotComparableError(f"its rows were split by content without {(left or ['a hash'])[0]!r}; {remedy}")
    # A row's hash is a sum over columns, so the hashes of columns added since are subtracted.
    hashes: Hashes = rows[ours.hash_column].to_numpy(np.uint64)
    for name in added:
        hashes = hashes - row_hash.cells(rows[name])
    return hashes


def _column(table: Table, params: SplitParams) -> pd.Series:
    column = table[str(params.column)]
    missing = int(column.isna().sum())
    if missing:
        problem = f"{missing:,} rows have no value in {params.column!r}; fill them or split otherwise"
        raise UserError(f"params.yaml: {params.setting}: {problem}")
    return column


def _explain_share(hashes: Hashes, params: SplitParams, share: float) -> str:
    """Explain why a split by hash is not usable, and which `test_size` is."""
    places = row_hash.places(hashes)
    shares = {size: float((places < size).mean()) for size in np.arange(5, 51) / 100}
    usable = [size for size, each in shares.items() if SMALLEST_SHARE <= each <= LARGEST_SHARE]
    by = f"values of {params.key!r}" if params.key else "rows"
    by = f"groups in {params.group_column!r}" if params.method == "group" else by
    remedy = "name a column with more different values in split.key or split.group_column, or add rows"
    if usable:
        size = min(usable, key=lambda size: abs(shares[size] - params.test_size))
        remedy = f"set it to {size:g}, which gives {shares[size]:.0%}"
    return (
        f"params.yaml: split.test_size: got {params.test_size:g}, which puts {share:.0%} of {len(hashes):,} rows into "
        f"the test ({len(np.unique(hashes)):,} different {by}, each on one side); {remedy}"
    )


def _by_time(moments: pd.Series, test_size: float) -> Mask:
    values = _moments(moments)
    place = min(int(len(values) * (1 - test_size)), len(values) - 1)
    middle = np.partition(values, place)[place]
    # The rows of one moment stay together: the test rows begin with this moment, or after it.
    cuts = [mask for mask in (values >= middle, values > middle) if mask.any() and not mask.all()]
    if not cuts:
        problem = f"{moments.name!r} is {middle!s} in every row"
        raise UserError(f"params.yaml: split.time_column: {problem}; name another or set split.method to random")
    shares = [np.round(1 - np.count_nonzero(~mask) / len(mask), 12) for mask in cuts]
    usable = [place for place, share in enumerate(shares) if SMALLEST_SHARE <= share <= LARGEST_SHARE]
    nearest = min(usable or range(len(cuts)), key=lambda place: abs(shares[place] - test_size))
    if not usable:
        raise UserError(
            f"params.yaml: split.time_column: {moments.name!r} has {moments.nunique():,} different moments, and the "
            f"test cannot have {SMALLEST_SHARE:.0%} to {LARGEST_SHARE:.0%} of the rows (the nearest is "
            f"{shares[nearest]:.1%}); name a column with finer moments or set split.method to random"
        )
    mask: Mask = cuts[nearest]
    return mask


def _ends(moments: pd.Series, test: Mask) -> dict[str, str]:
    values = _moments(moments)
    shown = (lambda value: str(pd.Timestamp(value))) if values.dtype.kind == "M" else str
    return {
        f"{side}_{end}": shown(value)
        for side, part in (("train", values[~test]), ("test", values[test]))
        for end, value in (("from", part.min()), ("to", part.max()))
    }


def _moments(moments: pd.Series) -> npt.NDArray[Any]:
    if types.is_datetime64_any_dtype(moments.dtype):
        return moments.to_numpy("datetime64[us]")
    if types.is_numeric_dtype(moments.dtype):
        return moments.to_numpy()
    problem = f"{moments.name!r} holds {moments.iloc[0]!r}; expected dates or numbers in every row"
    raise UserError(f"params.yaml: split.time_column: {problem}")
