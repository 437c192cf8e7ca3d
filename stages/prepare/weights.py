"""Check the column of row weights."""

import numpy as np
from pandas.api import types

from stages.errors import UserError
from stages.params.sections import DataParams
from stages.prepare.subset import Subset
from stages.table.findings import FIRST_ROW

REASON = "is the weight of each row (data.weight)"
"""Why the column is no feature."""


def check_weights(table: Subset, data: DataParams) -> None:
    """Raise UserError with the first row whose weight is missing, not finite or not above 0.

    `table` has the rows with a target.
    """
    if data.weight is None:
        return
    column = table[data.weight]
    if types.is_bool_dtype(column.dtype) or not types.is_numeric_dtype(column.dtype):
        raise _refuse(data, f"{data.weight!r} holds {column.iloc[0]!r:.40}; expected a number above 0 in every row")
    values = column.to_numpy(np.float64, na_value=np.nan)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(wrong):
        row, value = np.flatnonzero(table.marked)[wrong[0]] + FIRST_ROW, values[wrong[0]]
        got = "no value" if np.isnan(value) else f"{value:g}"
        more = f" and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
        raise _refuse(
            data,
            f"row {row:,}{more}: {data.weight!r} has {got}; expected a number above 0: correct it or leave the row out",
        )


def _refuse(data: DataParams, problem: str) -> UserError:
    return UserError(f"{data.path}: {problem} (params.yaml: data.weight)")
