"""Draft a suite of expectations from the current table, for you to review.

Example: make suite
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api import types

from stages import files
from stages.entry import log, run
from stages.params.loading import load_params
from stages.params.params import Params
from stages.table.reader import read_table
from stages.validate.suite import NUMBERS, Entry

_SLACK = 0.1
"""The margin between the table's extremes and a drafted bound, as a share of the range."""
_CATEGORIES = 50
_FEW = 12
_CLASSES = 20


def draft(table: pd.DataFrame, target: str) -> list[Entry]:
    """Return expectations that `table` meets, with room for later tables: columns, types, missing values, ranges."""
    names = [str(name) for name in table.columns]
    return [
        _expect("table_row_count_to_be_between", min_value=len(table) // 2, max_value=len(table) * 2),
        _expect("table_columns_to_match_set", column_set=names),
        *(each for name in names for each in _describe_column(table[name])),
        *_describe_target(table[target]),
    ]


def _expect(kind: str, **kwargs: Any) -> Entry:
    return {"type": f"expect_{kind}", "kwargs": kwargs}


def _describe_column(column: pd.Series) -> Iterator[Entry]:
    name, known, missing = str(column.name), column.dropna(), float(column.isna().mean())
    if known.empty:
        return
    mostly = math.floor((1 - missing - max(missing, _SLACK) * _SLACK) * 1000) / 1000 if missing else 1.0
    if mostly > 0:
        yield _expect("column_values_to_not_be_null", column=name, mostly=mostly)
    if types.is_bool_dtype(column.dtype):
        yield _expect("column_values_to_be_of_type", column=name, type_="bool")
    elif types.is_datetime64_any_dtype(column.dtype):
        yield _expect("column_values_to_be_of_type", column=name, type_="datetime64")
        # Bounds on the extremes: Great Expectations compares a range of dates row by row, in Python.
        low, high = known.min(), known.max()
        first, last = (low - (high - low) * _SLACK).floor("D"), (high + (high - low) * _SLACK).ceil("D")
        yield _expect("column_min_to_be_between", column=name, min_value=first.isoformat())
        yield _expect("column_max_to_be_between", column=name, max_value=last.isoformat())
    elif types.is_numeric_dtype(column.dtype):
        # One missing value turns whole numbers into float64, and a CSV file has no int32.
        yield _expect("column_values_to_be_in_type_list", column=name, type_list=NUMBERS)
        low, high = bounds(known.min().item(), known.max().item())
        yield _expect("column_values_to_be_between", column=name, min_value=low, max_value=high)
    else:
        yield _expect("column_values_to_be_of_type", column=name, type_="str")
        names = sorted(known.unique().tolist())
        if len(names) <= _CATEGORIES:
            mostly = 1.0 if len(names) <= _FEW else 0.99
            yield _expect("column_values_to_be_in_set", column=name, value_set=names, mostly=mostly)


def bounds(low: float, high: float) -> tuple[float, float]:
    """Return rounded bounds around `low` and `high`; if `low` isn't negative, neither is its bound."""
    spread = max((high - low) or abs(high) or 1.0, 1e-300)  # below, the step would be 0
    step = 10.0 ** (math.floor(math.log10(spread)) - 1)
    below, above = low - spread * _SLACK, high + spread * _SLACK
    below = max(0.0, below) if low >= 0 else below
    digits = max(0, 1 - math.floor(math.log10(step)))
    return round(math.floor(below / step) * step, digits), round(math.ceil(above / step) * step, digits)


def _describe_target(target: pd.Series) -> Iterator[Entry]:
    """Yield expectations about the share of each class, or about the mean of a numeric target."""
    name, known = str(target.name), target.dropna()
    shares = known.value_counts(normalize=True)
    if len(shares) <= _CLASSES:
        for label in sorted(shares.index.tolist()):
            least = math.floor(shares[label] * 750) / 1000
            yield _expect("column_values_to_be_in_set", column=name, value_set=[label], mostly=least)
    elif types.is_numeric_dtype(known.dtype):
        low, high = bounds(float(known.mean() - known.std() / 2), float(known.mean() + known.std() / 2))
        yield _expect("column_mean_to_be_between", column=name, min_value=low, max_value=high)


def destination(params: Params) -> Path:
    """Return the path of the draft: the suite's own if no file is there, so that no reviewed suite is overwritten."""
    suite = params.validation.suite
    return Path(suite) if suite and not Path(suite).exists() else files.SUITE_DRAFT


def main() -> None:
    """Write the draft and log what to do next."""
    params = load_params()
    entries = draft(read_table(params.data)[0], params.data.target)
    path = destination(params)
    files.write_json(path, {"name": Path(params.data.path).stem, "expectations": entries, "meta": {}})
    log(f"{len(entries):,} expectations drafted from {params.data.path} -> {path}")
    then = "run `dvc repro validate`, and commit it"
    if path == files.SUITE_DRAFT:
        then = "keep it in Git under data/suites, and name that file in validate.suite"
    log(f"next: review it, {then}")


if __name__ == "__main__":
    run(main)
