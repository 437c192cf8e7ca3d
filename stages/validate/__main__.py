"""Check the raw table with Great Expectations, before a model is trained on it.

Example: dvc repro validate
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages import files
from stages.entry import log, run
from stages.errors import UserError
from stages.params.loading import load_params
from stages.params.params import Params
from stages.params.sections import MIN_ROWS
from stages.progress import timed
from stages.stored import StoredTable, Table
from stages.table.reader import read_columns
from stages.table.typed import TypedColumns
from stages.validate.expectations import STRUCTURAL, evaluate
from stages.validate.report import describe, html
from stages.validate.suite import NUMBERS, Entry, Result, Suite, columns, read

_LONGEST = 250
_SHOWN = 20


def validate(table: Table, params: Params, suite: Suite) -> list[Result]:
    """Compare the table with the structural expectations, and with the suite unless it is for another table."""
    results = evaluate(table, structural(len(table), params))
    if is_for_another_table(suite, table, params):
        return results
    return results + evaluate(table, suite.entries, str(params.validation.suite))


def is_for_another_table(suite: Suite, table: Table, params: Params) -> bool:
    """Return whether the suite names another table and most of its columns are not in this one.

    So you can try your own table while params.yaml still names the demo's suite.
    """
    if suite.table in (None, params.data.path):
        return False
    named = {name for each in suite.entries for name in columns(each)}
    return 2 * len(named & set(table.columns)) < len(named)


def structural(rows: int, params: Params) -> list[Entry]:
    """Return the expectations that every table of this many rows must meet before training."""
    target, split = params.data.target, params.split
    least = min(1.0, MIN_ROWS / max(rows, 1))
    claims: list[tuple[str, str, dict[str, Any]]] = [
        (f"The table has at least {MIN_ROWS} rows", "table_row_count_to_be_between", {"min_value": MIN_ROWS}),
        ("The table has a column beside the target", "table_column_count_to_be_between", {"min_value": 2}),
        (f"The target {target} is a column of the table", "column_to_exist", {"column": target}),
        (
            f"At least {MIN_ROWS} rows have a value in the target {target}",
            "column_proportion_of_non_null_values_to_be_between",
            {"column": target, "min_value": least},
        ),
        (
            f"The target {target} has at least two different values",
            "column_unique_value_count_to_be_between",
            {"column": target, "min_value": 2},
        ),
    ]
    if params.data.task == "regression":
        numbers = {"column": target, "type_list": NUMBERS}
        claims.append((f"The target {target} holds numbers", "column_values_to_be_in_type_list", numbers))
    if split.column is not None:
        sentence = f"{split.column} is in the table: params.yaml names it in {split.setting}"
        claims.append((sentence, "column_to_exist", {"column": split.column}))
    return [{"type": f"expect_{kind}", "kwargs": kwargs, "description": text} for text, kind, kwargs in claims]


def describe_suite(suite: Suite, table: Table, params: Params) -> str:
    """Return the suite that the table was compared with, or why there is none."""
    path = params.validation.suite
    if path is None:
        return "none, only the structural expectations"
    if is_for_another_table(suite, table, params):
        return (
            f"none, only the structural expectations: {path} was reviewed for {suite.table}, and {params.data.path} "
            "has few of its columns; draft a suite with `make suite`, or set validate.suite to null in params.yaml"
        )
    if Path(path).parent == files.SUITES:
        return path
    return f"{path}; DVC watches suites in {files.SUITES} only: after an edit of this one, `dvc repro --force validate`"


def stop(results: Sequence[Result], table: Table, params: Params) -> None:
    """Raise UserError if an expectation failed: how many, what to do, and a line for each of the first."""
    failed = [each for each in results if not each["success"]]
    if not failed:
        return
    configs, suite = [each["expectation_config"] for each in failed], params.validation.suite
    remedy = f"correct the table or review {suite}"
    if all(each["meta"]["origin"] == STRUCTURAL for each in configs):
        remedy = "correct the table or params.yaml"
    elif not {name for each in configs for name in columns(each)} <= set(table.columns):
        remedy = f"{suite} is about columns that the table does not have; review it, or set validate.suite to null"
    count = f"{len(failed):,} of {len(results):,} expectations failed"
    head = f"{params.data.path}: {count}; {remedy}; all in {files.VALIDATION_REPORT}"
    raise UserError(head, *(describe(each, _LONGEST) for each in failed[:_SHOWN]))


def main() -> None:
    """Validate the raw table, write the results and the typed table, stop if an expectation failed."""
    params = load_params()
    suite = read(Path(params.validation.suite)) if params.validation.suite else Suite()
    with files.scratch(files.TYPED) as scratch, files.replacing(files.TYPED) as typed:
        columns = TypedColumns(scratch)
        names, reading = read_columns(params.read_data, columns.add, scratch)
        columns.write(names, reading, typed)
        _compare(StoredTable(typed), params, suite)


def _compare(table: Table, params: Params, suite: Suite) -> None:
    with timed("comparing the table with the expectations"):
        results = validate(table, params, suite)
    about = describe_suite(suite, table, params)
    size = f"{len(table):,} rows, {len(table.columns):,} columns"
    record = {"success": all(each["success"] for each in results), "suite": about, "table": size, "results": results}
    files.write_json(files.VALIDATION, record)
    files.write_text(files.VALIDATION_REPORT, html(results, [params.data.path, size, f"suite: {about}"]))
    log(f"suite: {about}")
    stop(results, table, params)
    log(f"{len(results):,} expectations hold; {files.VALIDATION_REPORT} shows them")


if __name__ == "__main__":
    run(main)
