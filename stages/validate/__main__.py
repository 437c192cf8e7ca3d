"""The gate on data: Great Expectations over the raw table, before anything learns from it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stages import files
from stages.entry import log, run, timed
from stages.errors import UserError
from stages.params import Params, load_params
from stages.table import reader
from stages.table.typed import write_typed
from stages.validate import expectations, report
from stages.validate import suite as _suite
from stages.validate.outcomes import Outcome, as_json, failures, found, shortened
from stages.validate.suite import Expectation, Suite

MIN_ROWS = 20
_LONGEST = 200


def validate(table: pd.DataFrame, params: Params, suite: Suite) -> list[Outcome]:
    """Hold the structural expectations and then the suite's, unless it gives way, against the table."""
    reviewed = () if gives_way(suite, table, params) else suite.expectations
    return expectations.evaluate(table, [*structural(len(table), params), *reviewed])


def gives_way(suite: Suite, table: pd.DataFrame, params: Params) -> bool:
    """Whether the suite was reviewed for a table of another kind: another path, and most columns are not there.

    So the suite of the demo table stands in nobody's way. A suite that names no table never gives way.
    """
    if suite.table in (None, params.data.path):
        return False
    named = {name for each in suite.expectations for name in each.columns}
    return 2 * len(named & set(table.columns)) < len(named)


def structural(rows: int, params: Params) -> list[Expectation]:
    """What every table must fulfil so that something can be learnt from its `rows` rows."""
    target, split = params.data.target, params.split
    of_target = {"column": target}
    labelled = {**of_target, "min_value": min(1.0, MIN_ROWS / max(rows, 1))}
    exists, is_distinct = "expect_column_to_exist", "expect_column_unique_value_count_to_be_between"
    has_values, is_typed = (
        "expect_column_proportion_of_non_null_values_to_be_between",
        "expect_column_values_to_be_in_type_list",
    )
    claims: list[tuple[str, dict[str, Any], str]] = [
        ("expect_table_row_count_to_be_between", {"min_value": MIN_ROWS}, f"The table has at least {MIN_ROWS} rows"),
        ("expect_table_column_count_to_be_between", {"min_value": 2}, "The table has a column beside the target"),
        (exists, of_target, f"The target {target} is a column of the table"),
        (has_values, labelled, f"At least {MIN_ROWS} rows have a value in the target {target}"),
        (is_distinct, {**of_target, "min_value": 2}, f"The target {target} has at least two different values"),
    ]
    if params.data.task == "regression":
        claims.append((is_typed, {**of_target, "type_list": _suite.NUMBERS}, f"The target {target} holds numbers"))
    column = {"time": split.time_column, "group": split.group_column, "random": split.key}[split.method]
    if column is not None:
        claims.append(
            (exists, {"column": column}, f"{column}, the column of the {split.method} split, is in the table")
        )
    return [Expectation(*claim) for claim in claims]


def about_suite(suite: Suite, table: pd.DataFrame, params: Params) -> str:
    """Which suite was held against the table, or why none was."""
    path = params.validation.suite
    if path is None:
        return "none, the structural expectations alone"
    if gives_way(suite, table, params):
        return (
            f"none, the structural expectations alone: {path} was reviewed for {suite.table}, and {params.data.path} "
            "has few of its columns; draft a suite with `make suite`, or say validate.suite: null in params.yaml"
        )
    return path


def verdict(outcomes: Sequence[Outcome], table: pd.DataFrame, params: Params) -> str | None:
    """The one line that stops the pipeline, None if nothing does: what failed first, and what to do."""
    failed = [outcome for outcome in outcomes if not outcome.success]
    if not failed:
        return None
    first = shortened(f"{failed[0].sentence.rstrip('.')}: {found(failed[0])}", _LONGEST)
    remedy = _remedy(failed, table, params.validation.suite)
    how_many = f"{len(failed):,} of {len(outcomes):,} expectations failed"
    return f"{params.data.path}: {how_many}, first: {first}; {remedy}; all in {files.VALIDATION_REPORT}"


def _remedy(failed: list[Outcome], table: pd.DataFrame, suite: str | None) -> str:
    if suite is None or all(each.expectation.origin == _suite.STRUCTURAL for each in failed):
        return "correct the table or params.yaml"
    named = {name for each in failed for name in each.expectation.columns}
    absent = sorted(named - set(table.columns))
    if not absent:
        return f"correct the table or review {suite}"
    others = f" and {len(absent) - 1:,} more" if len(absent) > 1 else ""
    return f"{suite} names columns that the table has not: {absent[0]}{others}; review it, or say validate.suite: null"


def _unwatched(suite: str | None) -> str:
    if suite is None or Path(suite).parent == files.SUITES:
        return ""
    return (
        f"; DVC sees edits of suites in {files.SUITES} alone: after an edit of this one, `dvc repro --force validate`"
    )


def main() -> None:
    """Validate the raw table, write what came out, and stop the pipeline if an expectation failed."""
    params = load_params()
    suite = _suite.read(Path(params.validation.suite)) if params.validation.suite else Suite()
    table, reading = reader.read_table(params.data)
    with timed("holding the expectations against the table"):
        outcomes = validate(table, params, suite)
    size = f"{len(table):,} rows, {len(table.columns):,} columns"
    about = about_suite(suite, table, params)
    files.write_json(files.VALIDATION, {"suite": about} | as_json(outcomes, len(table), len(table.columns)))
    files.write_text(files.VALIDATION_REPORT, report.html(outcomes, [params.data.path, size, f"suite: {about}"]))
    log(f"suite: {about}{_unwatched(params.validation.suite)}")
    stop = verdict(outcomes, table, params)
    if stop:
        print(*failures(outcomes), sep="\n", file=sys.stderr)
        raise UserError(stop)
    write_typed(table, reading, files.TYPED)
    log(f"{len(outcomes):,} expectations hold; {files.VALIDATION_REPORT} shows them")


if __name__ == "__main__":
    run(main)
