"""Write rows as JSON, so that the service reads the same values as the pipeline did in training.

Numbers keep all their digits, and dates with a time zone become UTC. NaN, NaT, NA and None become null. A numeric
column for a feature that holds categories becomes text, as the pipeline reads it.
"""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from math import isinf, isnan
from typing import Any

import numpy as np
import pandas as pd

_NULL = "null"


def encode_table(table: pd.DataFrame, types: Mapping[str, str]) -> list[str]:
    """Return each row as a JSON object; `types` are the types of the model's features.

    Raises ValueError for two columns of one name, TypeError for a value that JSON has no form for.
    """
    names = list(map(str, table.columns))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the table has two columns {twice!r}; drop or rename one")
    columns = [_encode_column(table.iloc[:, place], name, types.get(name)) for place, name in enumerate(names)]
    row = "{" + ",".join(json.dumps(name).replace("%", "%%") + ":%s" for name in names) + "}"
    return [row % values for values in zip(*columns, strict=True)] if columns else ["{}"] * len(table)


def encode_row(row: Mapping[str, Any], types: Mapping[str, str]) -> str:
    """Return one row as a JSON object. Raises TypeError as `encode_table`."""
    return "{" + ",".join(f"{json.dumps(name)}:{encode(row[name], types.get(name), name)}" for name in row) + "}"


def encode(value: Any, kind: str | None = None, name: str = "value") -> str:  # noqa: PLR0911  # one for each type
    """Return the JSON of one value of the feature `name`, which has the type `kind`."""
    if isinstance(value, np.generic):
        value = pd.Timestamp(value) if isinstance(value, np.datetime64) else _plain(value)
    if value is None or value is pd.NA or value is pd.NaT:
        return _NULL
    match value:
        case str():
            return json.dumps(value)
        case bool() if kind == "number":
            return str(int(value))
        case bool():
            return json.dumps(str(value).lower()) if kind == "category" else str(value).lower()
        case int() | float() | Decimal():
            return _encode_number(value, kind)
        case datetime():
            return f'"{(value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value).isoformat()}"'
        case date():
            return f'"{value.isoformat()}"'
    raise TypeError(
        f"{name}: a value of type {type(value).__name__} can't be sent; convert it to a number, text or date"
    )


def _plain(value: np.generic) -> Any:
    """Return a NumPy scalar as a value of Python; a long double has no such value but float."""
    return float(value) if isinstance(value, np.floating) else value.item()


def _encode_number(value: float | Decimal, kind: str | None) -> str:
    if isinstance(value, Decimal):
        value = int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        if isnan(value):
            return _NULL
        if isinf(value):
            return "Infinity" if value > 0 else "-Infinity"  # not JSON, but the service names the field
    if kind == "boolean" and value in (0, 1):
        return "true" if value else "false"
    if kind == "category":
        return f'"{int(value) if value == int(value) else value!r}"'
    return repr(value)


def _encode_column(column: pd.Series, name: str, kind: str | None) -> list[str]:
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        texts = [*_encode_column(pd.Series(dtype.categories), name, kind), _NULL]  # the code -1 means missing
        return [texts[code] for code in column.cat.codes]
    if isinstance(dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if isinstance(column.dtype, np.dtype):
        if column.dtype.kind == "M":
            return _encode_dates(column.to_numpy())
        if column.dtype.kind in "iuf" and kind not in {"category", "boolean"}:
            return _encode_numbers(column.to_numpy())
    return _encode_each(column, name, kind)


def _encode_numbers(values: Any) -> list[str]:
    if values.dtype.kind != "f":
        return list(map(str, values.tolist()))
    texts = list(map(repr, values.astype(np.float64).tolist()))
    for place in np.flatnonzero(~np.isfinite(values)).tolist():
        texts[place] = _encode_number(float(values[place]), None)
    return texts


def _encode_dates(values: Any) -> list[str]:
    moments = values.astype("datetime64[us]")
    whole = moments.astype("datetime64[s]")
    known = ~np.isnat(moments)
    texts = np.datetime_as_string(whole if (moments == whole)[known].all() else moments)
    return [f'"{text}"' if is_known else _NULL for text, is_known in zip(texts.tolist(), known.tolist(), strict=True)]


def _encode_each(column: pd.Series, name: str, kind: str | None) -> list[str]:
    texts: dict[str, str] = {}
    encoded = []
    for value in column.astype(object):
        if isinstance(value, str):
            text = texts.get(value) or texts.setdefault(value, json.dumps(value))
        else:
            text = encode(value, kind, name)
        encoded.append(text)
    return encoded
