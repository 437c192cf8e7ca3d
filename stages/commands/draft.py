"""Draft a suite from the current table, for a person to review: ``python -m stages.commands.draft``."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api import types

from stages import files
from stages.entry import log, run
from stages.params import Params, load_params
from stages.table import reader
from stages.validate import suite as _suite
from stages.validate.suite import Expectation

_SLACK = 0.1
"""How far beyond what was seen a bound lies, as a share of the range."""
_CATEGORIES = 50
_FEW = 12
_CLASSES = 20


def draft(table: pd.DataFrame, target: str) -> list[Expectation]:
    """What holds for `table`, with room for a table of the same kind: columns, types, missing values, ranges."""
    names = [str(name) for name in table.columns]
    rows = {"min_value": len(table) // 2, "max_value": len(table) * 2}
    return [
        Expectation("expect_table_row_count_to_be_between", rows),
        Expectation("expect_table_columns_to_match_set", {"column_set": names}),
        *(each for name in names for each in _of_column(table[name])),
        *_of_target(table[target]),
    ]


def _of_column(column: pd.Series) -> Iterator[Expectation]:
    known, about = column.dropna(), {"column": str(column.name)}
    if known.empty:
        return
    yield _of_type(column, about)
    yield from _of_missing(float(column.isna().mean()), about)
    if types.is_bool_dtype(column.dtype):
        return
    if types.is_datetime64_any_dtype(column.dtype):
        yield from _of_dates(known, about)
    elif types.is_numeric_dtype(column.dtype):
        low, high = _bounds(known.min().item(), known.max().item())
        yield Expectation("expect_column_values_to_be_between", {**about, "min_value": low, "max_value": high})
    else:
        yield from _of_categories(known, about)


def _of_type(column: pd.Series, about: dict[str, Any]) -> Expectation:
    if types.is_bool_dtype(column.dtype):
        name = "bool"
    elif types.is_datetime64_any_dtype(column.dtype):
        name = "datetime64"
    elif types.is_numeric_dtype(column.dtype):
        # One missing value makes whole numbers float64, and a CSV knows no int32.
        return Expectation("expect_column_values_to_be_in_type_list", {**about, "type_list": _suite.NUMBERS})
    else:
        name = "str"
    return Expectation("expect_column_values_to_be_of_type", {**about, "type_": name})


def _of_missing(share: float, about: dict[str, Any]) -> Iterator[Expectation]:
    mostly = 1.0 if share == 0 else math.floor((1 - share - max(share, _SLACK) * _SLACK) * 1000) / 1000
    if mostly > 0:
        kwargs = about if mostly == 1 else {**about, "mostly": mostly}
        yield Expectation("expect_column_values_to_not_be_null", kwargs)


def _bounds(low: float, high: float) -> tuple[float, float]:
    """Round bounds around `low` and `high`; what is never negative stays so."""
    spread = (high - low) or abs(high) or 1.0
    step = 10.0 ** (math.floor(math.log10(spread)) - 1)
    below, above = low - spread * _SLACK, high + spread * _SLACK
    below = max(0.0, below) if low >= 0 else below
    digits = max(0, 1 - math.floor(math.log10(step)))
    return round(math.floor(below / step) * step, digits), round(math.ceil(above / step) * step, digits)


def _of_dates(known: pd.Series, about: dict[str, Any]) -> Iterator[Expectation]:
    # Bounds on the extremes: Great Expectations compares a range of dates row by row, in Python.
    slack = (known.max() - known.min()) * _SLACK
    earliest, latest = (known.min() - slack).floor("D"), (known.max() + slack).ceil("D")
    yield Expectation("expect_column_min_to_be_between", {**about, "min_value": earliest.isoformat()})
    yield Expectation("expect_column_max_to_be_between", {**about, "max_value": latest.isoformat()})


def _of_categories(known: pd.Series, about: dict[str, Any]) -> Iterator[Expectation]:
    names = sorted(known.unique().tolist())
    if len(names) <= _CATEGORIES:
        mostly = {} if len(names) <= _FEW else {"mostly": 0.99}
        yield Expectation("expect_column_values_to_be_in_set", {**about, "value_set": names, **mostly})


def _of_target(target: pd.Series) -> Iterator[Expectation]:
    """The share of each class, or the mean of a number: what a change of the world moves first."""
    known, about = target.dropna(), {"column": str(target.name)}
    shares = known.value_counts(normalize=True)
    if len(shares) <= _CLASSES:
        for label in sorted(shares.index.tolist()):
            least = math.floor(shares[label] * 750) / 1000
            yield Expectation("expect_column_values_to_be_in_set", {**about, "value_set": [label], "mostly": least})
    elif types.is_numeric_dtype(known.dtype):
        low, high = _bounds(float(known.mean() - known.std() / 2), float(known.mean() + known.std() / 2))
        yield Expectation("expect_column_mean_to_be_between", {**about, "min_value": low, "max_value": high})


def destination(params: Params) -> Path:
    """Where the draft goes: the suite's own path while that is free, never over a reviewed suite."""
    suite = params.validation.suite
    return Path(suite) if suite and not Path(suite).exists() else files.SUITE_DRAFT


def main() -> None:
    """Write the draft and say what to do with it."""
    params = load_params()
    expectations = draft(reader.read(params.data), params.data.target)
    path = destination(params)
    files.write_text(path, _suite.write(Path(params.data.path).stem, expectations))
    log(f"{len(expectations):,} expectations drafted from {params.data.path} -> {path}")
    if path == files.SUITE_DRAFT:
        log("next: review it, keep it in Git under data/suites, and name that file in validate.suite")
    else:
        log("next: review it, run `dvc repro validate`, and commit it")


if __name__ == "__main__":
    run(main)
