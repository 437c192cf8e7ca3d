"""A suite file: Great Expectations' own JSON, checked before any of it is evaluated."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.errors import UserError

Entry = dict[str, Any]
"""An expectation as Great Expectations writes it: ``type``, ``kwargs``, ``description`` and the like."""
Result = dict[str, Any]
"""A result as Great Expectations writes it: ``success``, ``expectation_config``, ``result``, ``exception_info``."""
NUMBERS = [*(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float32", "float64"]
"""The types of a column of numbers; which of them, the file's writer chose."""
_CONDITION = '{"type": "comparison", "column": {"name": "x"}, "operator": ">=", "parameter": 0}'
_MOST_LEVELS = 10
"""Of conditions within conditions."""


@dataclass(frozen=True, slots=True)
class Suite:
    """The expectations of a suite, and the path of the table that its ``meta`` names, if it names one."""

    entries: list[Entry] = field(default_factory=list)
    table: str | None = None


def columns(entry: Entry) -> list[str]:
    """Return the columns that an expectation is about, without those of its row condition."""
    if entry["type"].startswith("expect_table_"):
        return []
    kwargs = entry["kwargs"]
    listed = kwargs.get("column_list")
    named = [kwargs.get(key) for key in ("column", "column_A", "column_B")]
    return [name for name in [*named, *(listed if isinstance(listed, list) else [])] if isinstance(name, str)]


def read(path: Path) -> Suite:
    """Read the suite file. Raises UserError, one line that names the file and the entry, if it is no suite."""
    suite = _json(path)
    entries = suite.get("expectations") if isinstance(suite, dict) else None
    if not isinstance(entries, list) or not entries:
        raise UserError(
            f"{path}: is no Great Expectations suite: expected an object with a list of `expectations`; "
            "draft one with `make suite`, or set validate.suite to null"
        )
    for place, entry in enumerate(entries, 1):
        _check(f"{path}, expectation {place}", entry)
    table = (suite.get("meta") or {}).get("table")
    if not isinstance(table, str | None):
        raise UserError(f"{path}: meta.table: got {table!r:.60}; expected the path of a table")
    return Suite(entries, table)


def write(name: str, entries: Sequence[Entry]) -> str:
    """Return a suite file's text, an expectation a line."""
    lines = ",\n".join("    " + json.dumps(entry | {"meta": {}}, ensure_ascii=False) for entry in entries)
    head = json.dumps(name, ensure_ascii=False)
    return f'{{\n  "name": {head},\n  "expectations": [\n{lines}\n  ],\n  "meta": {{}}\n}}\n'


def _json(path: Path) -> Any:
    try:
        suite = json.loads(path.read_text(encoding="utf-8-sig"))
        json.dumps(suite, ensure_ascii=False, allow_nan=False).encode()
    except (FileNotFoundError, IsADirectoryError):
        remedy = "name a suite file, draft one with `make suite`, or set it to null"
        raise UserError(f"params.yaml: validate.suite: {path} is not a file; {remedy}") from None
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, NaN, half a character, nested too deeply
        raise UserError(f"{path}: is not JSON: {error}; correct it") from None
    return suite


def _check(where: str, entry: Any) -> None:
    match entry:
        case {"type": str() as kind, "kwargs": dict() as kwargs}:
            if '"$PARAMETER":' in json.dumps(kwargs):
                raise UserError(
                    f"{where} ({kind}): asks for a $PARAMETER; write the value itself, so that Git keeps it"
                )
            if kwargs.get("row_condition") is not None:
                _check_condition(f"{where} ({kind}): row_condition", kwargs["row_condition"])
        case _:
            raise UserError(
                f"{where}: got {json.dumps(entry)!s:.60}; expected an object such as "
                '{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x"}}'
            )


def _check_condition(where: str, condition: Any, depth: int = 1) -> None:
    """Raise UserError unless a row condition does no more than compare columns with values.

    Great Expectations hands a condition to `DataFrame.query`, which evaluates Python: a text, an object of type
    `pass_through`, a backtick in a column's name or a nested value could run any code.
    """
    match condition:
        case {"type": "and" | "or", "conditions": [_, *_] as several} if depth < _MOST_LEVELS:
            for each in several:
                _check_condition(where, each, depth + 1)
        case {"type": "nullity", "column": {"name": str() as name}} if "`" not in name:
            pass
        case {"type": "comparison", "column": {"name": str() as name}, "parameter": value} if "`" not in name and all(
            isinstance(each, str | int | float) for each in _list(value)
        ):
            pass
        case _:
            raise UserError(
                f"{where}: got {json.dumps(condition, ensure_ascii=False)!s:.60}, which could run code; write an "
                f"object such as {_CONDITION}, or up to {_MOST_LEVELS} levels of `conditions` of type `and` or `or`"
            )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
