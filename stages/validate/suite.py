"""Read a suite file in Great Expectations' JSON, and check it before it is evaluated."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.errors import UserError

Entry = dict[str, Any]
"""An expectation as Great Expectations writes it: ``type``, ``kwargs``, ``description`` and the like."""
Result = dict[str, Any]
"""A result as Great Expectations writes it: ``success``, ``expectation_config``, ``result``, ``exception_info``."""
NUMBERS = [*(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float32", "float64"]
"""The types of a column of numbers, all of which a file may use."""
_EXPECTATION = '{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x"}}'
_CONDITION = '{"type": "comparison", "column": {"name": "x"}, "operator": ">=", "parameter": 0}'
_MOST_LEVELS = 10
"""The most levels of nested conditions."""


@dataclass(frozen=True, slots=True)
class Suite:
    """The expectations of a suite, and the path of the table that its ``meta`` names, if it names one."""

    entries: list[Entry] = field(default_factory=list)
    table: str | None = None


def columns(entry: Entry) -> list[str]:
    """Return the columns that an expectation is about, except those only in its row condition."""
    if entry["type"].startswith("expect_table_"):
        return []
    kwargs = entry["kwargs"]
    listed = kwargs.get("column_list")
    named = [kwargs.get(key) for key in ("column", "column_A", "column_B")]
    return [name for name in [*named, *(listed if isinstance(listed, list) else [])] if isinstance(name, str)]


def read(path: Path) -> Suite:
    """Read the suite file. Raises UserError, which names the file and the entry, if it is no suite."""
    try:
        suite = json.loads(path.read_text(encoding="utf-8-sig"))
        json.dumps(suite, ensure_ascii=False, allow_nan=False).encode()
    except (FileNotFoundError, IsADirectoryError):
        remedy = "name a suite file, draft one with `make suite`, or set it to null"
        raise UserError(f"params.yaml: validate.suite: {path} is not a file; {remedy}") from None
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, NaN, half a character, nested too deeply
        raise UserError(f"{path}: is not JSON: {error}; correct it") from None
    match suite:
        case {"expectations": [_, *_] as entries}:
            for place, entry in enumerate(entries, 1):
                _check(f"{path}, expectation {place}", entry)
        case _:
            raise UserError(
                f"{path}: is no Great Expectations suite: expected an object with a list of `expectations`; "
                "draft one with `make suite`, or set validate.suite to null"
            )
    table = (suite.get("meta") or {}).get("table")
    if not isinstance(table, str | None):
        raise UserError(f"{path}: meta.table: got {table!r:.60}; expected the path of a table")
    return Suite(entries, table)


def _check(where: str, entry: Any) -> None:
    match entry:
        case {"type": str() as kind, "kwargs": dict() as kwargs}:
            where = f"{where} ({kind})"
        case _:
            raise UserError(f"{where}: got {json.dumps(entry)!s:.60}; expected an object such as {_EXPECTATION}")
    if '"$PARAMETER":' in json.dumps(kwargs):
        raise UserError(f"{where}: uses a $PARAMETER; write the value itself, so that Git keeps it")
    condition = kwargs.get("row_condition")
    if condition is not None and not _only_compares(condition):
        raise UserError(
            f"{where}: row_condition: got {json.dumps(condition, ensure_ascii=False)!s:.60}, which could run code; "
            f"write an object such as {_CONDITION}, or up to {_MOST_LEVELS} levels of `conditions`"
        )


def _only_compares(condition: Any, depth: int = 1) -> bool:
    """Return whether a row condition does no more than compare columns with values.

    Great Expectations hands a condition to `DataFrame.query`, which evaluates Python: a text, an object of type
    `pass_through`, a backtick in a column's name or a nested value could run any code.
    """
    match condition:
        case {"type": "and" | "or", "conditions": [_, *_] as several}:
            return depth < _MOST_LEVELS and all(_only_compares(each, depth + 1) for each in several)
        case {"type": "nullity", "column": {"name": str() as name}}:
            return "`" not in name
        case {"type": "comparison", "column": {"name": str() as name}, "parameter": value}:
            values = value if isinstance(value, list) else [value]
            return "`" not in name and all(isinstance(each, str | int | float) for each in values)
    return False
