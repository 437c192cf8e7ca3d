"""The gate on data: Great Expectations over the raw table, before anything learns from it."""

import sys
from pathlib import Path

import pandas as pd

from stages import _expectations, _files, _outcomes, _params, _report, _suite, _tables
from stages._entry import log, run, timed
from stages._errors import UserError
from stages._outcomes import Outcome
from stages._params import Params
from stages._suite import Expectation

MIN_ROWS = 20
_NUMBERS = ["int64", "float64"]


def validate(table: pd.DataFrame, params: Params, suite: tuple[Expectation, ...]) -> list[Outcome]:
    """Hold the structural expectations and then the suite's against the table."""
    return _expectations.evaluate(table, [*structural(len(table), params), *suite])


def structural(rows: int, params: Params) -> list[Expectation]:
    """What every table must fulfil so that something can be learnt from its `rows` rows."""
    target = params.data.target
    split = {"time": params.split.time_column, "group": params.split.group_column}.get(params.split.method)
    labelled = min(1.0, MIN_ROWS / max(rows, 1))
    claims = [
        Expectation(
            "expect_table_row_count_to_be_between",
            {"min_value": MIN_ROWS},
            f"The table has at least {MIN_ROWS} rows.",
        ),
        Expectation(
            "expect_table_column_count_to_be_between",
            {"min_value": 2},
            "The table has a column beside the target.",
        ),
        Expectation("expect_column_to_exist", {"column": target}, "The target is a column of the table."),
        Expectation(
            "expect_column_proportion_of_non_null_values_to_be_between",
            {"column": target, "min_value": labelled},
            f"At least {MIN_ROWS} rows have a target.",
        ),
        Expectation(
            "expect_column_unique_value_count_to_be_between",
            {"column": target, "min_value": 2},
            "The target has at least two different values.",
        ),
    ]
    if params.data.task == "regression":
        kwargs = {"column": target, "type_list": _NUMBERS}
        claims.append(Expectation("expect_column_values_to_be_in_type_list", kwargs, "The target holds numbers."))
    if split is not None:
        words = f"The column of the {params.split.method} split is in the table."
        claims.append(Expectation("expect_column_to_exist", {"column": split}, words))
    return claims


def verdict(failed: list[Outcome], table: pd.DataFrame, params: Params) -> str:
    """The one line that stops the pipeline: what failed first, and what to do."""
    more = f" and {len(failed) - 1:,} more expectations failed" if len(failed) > 1 else ""
    remedy = f"correct the table; {_files.VALIDATION_REPORT} shows all"
    if failed[0].expectation.origin != _suite.STRUCTURAL:
        remedy = f"correct the table, or review {params.validation.suite}; {_files.VALIDATION_REPORT} shows all"
        named = {name: None for each in failed for name in each.expectation.columns}
        absent = [name for name in named if name not in table.columns]
        if absent:
            remedy = (
                f"{params.validation.suite} describes another table, with {absent[0]!r}{_others(absent)}; "
                "say validate.suite: null, or the path of a new file and `make suite`"
            )
    return f"{params.data.path}: expected: {failed[0].sentence.rstrip('.')}{more}; {remedy}"


def _others(names: list[str]) -> str:
    return f" and {len(names) - 1:,} more columns" if len(names) > 1 else ""


def main() -> None:
    """Validate the raw table, write what came out, and stop the pipeline if an expectation failed."""
    params = _params.load(_files.PARAMS)
    suite = _suite.read(Path(params.validation.suite)) if params.validation.suite else ()
    table = _tables.read(params.data)
    with timed(f"holding the table against {len(suite) or 'the structural'} expectations"):
        outcomes = validate(table, params, suite)
    report = _outcomes.as_json(outcomes, rows=len(table), columns=len(table.columns))
    _files.write_json(_files.VALIDATION, report)
    _files.write_text(_files.VALIDATION_REPORT, _report.html(outcomes, params.data.path, report))
    failed = [outcome for outcome in outcomes if not outcome.success]
    if failed:
        print(*_outcomes.table(failed), sep="\n", file=sys.stderr)
        raise UserError(verdict(failed, table, params))
    log(f"{len(outcomes)} expectations hold; {_files.VALIDATION_REPORT} shows them")


if __name__ == "__main__":
    run(main)
