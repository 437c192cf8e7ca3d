"""Expectations as they stand in a suite file: Great Expectations' own JSON, one object an expectation."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.errors import UserError

STRUCTURAL = "structural"
"""The origin of the expectations that every table gets."""
NUMBERS = [*(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float32", "float64"]
"""The types of a column of numbers; which of them, the file's writer chose."""
_KEYS = {"type", "kwargs", "description", "meta", "notes", "severity", "id", "rendered_content", "success_on_last_run"}
_CONDITION = '{"type": "comparison", "column": {"name": "x"}, "operator": ">=", "parameter": 0}'
_MOST_LEVELS = 10
"""Of conditions within conditions."""
_OF_A_RUN = {"batch_id", "result_format", "catch_exceptions"}
"""What a run adds to `kwargs` when a suite is saved from one; how to run is not the suite's to say."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """A claim about a table, in Great Expectations' terms.

    `type` is the snake-case name of the expectation, `kwargs` its JSON arguments,
    `description` the sentence for people where the author wrote one, and `origin` the place
    where it is written down.
    """

    type: str
    kwargs: Mapping[str, Any]
    description: str | None = None
    origin: str = STRUCTURAL

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns the claim is about, those of its row condition not among them."""
        named = [self.kwargs.get(key) for key in ("column", "column_A", "column_B")]
        listed = self.kwargs.get("column_list")
        return tuple(name for name in [*named, *(listed if isinstance(listed, list) else [])] if isinstance(name, str))


@dataclass(frozen=True, slots=True)
class Suite:
    """A reviewed suite, and the path of the table that its ``meta`` says it was reviewed for, if it says so."""

    expectations: tuple[Expectation, ...] = ()
    table: str | None = None


def read(path: Path) -> Suite:
    """Read the suite file.

    Raises UserError, one line that names the file and the entry, for whatever is no suite.
    Whether Great Expectations knows a type and its arguments is for `_expectations` to say.
    """
    suite = _json(path)
    if not isinstance(suite, dict) or not isinstance(suite.get("expectations"), list):
        raise UserError(f"{path}: is no Great Expectations suite: expected an object with a list of `expectations`")
    if not suite["expectations"]:
        raise UserError(f"{path}: holds no expectation; draft some with `make suite`, or say validate.suite: null")
    entries = enumerate(suite["expectations"], 1)
    expectations = tuple(_entry(f"{path}, expectation {place}", each) for place, each in entries)
    return Suite(expectations, _table(path, suite.get("meta")))


def _table(path: Path, meta: Any) -> str | None:
    table = meta.get("table") if isinstance(meta, dict) else None
    if table is not None and not isinstance(table, str):
        raise UserError(f"{path}: meta.table: expected the path of a table, got {table!r:.60}")
    return table


def write(name: str, expectations: Iterable[Expectation]) -> str:
    """The suite file's text; `gx.ExpectationSuite(**json.loads(text))` reads it as well."""
    entries = ({"type": each.type, "kwargs": dict(each.kwargs), "meta": {}} for each in expectations)
    lines = ",\n".join("    " + json.dumps(entry, ensure_ascii=False, allow_nan=False) for entry in entries)
    head = json.dumps(name, ensure_ascii=False)
    return f'{{\n  "name": {head},\n  "expectations": [\n{lines}\n  ],\n  "meta": {{}}\n}}\n'


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_no_constant)
    except FileNotFoundError:
        remedy = "name a suite, draft one with `make suite`, or say null"
        raise UserError(f"params.yaml: validate.suite: {path} not found; {remedy}") from None
    except IsADirectoryError:
        raise UserError(f"params.yaml: validate.suite: {path} is a folder; name a suite file or say null") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is no Great Expectations suite: not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: line {error.lineno}, column {error.colno}: is not JSON: {error.msg}") from None
    except ValueError as error:
        raise UserError(f"{path}: is not JSON: {error}") from None
    except RecursionError:
        raise UserError(f"{path}: is no Great Expectations suite: objects or lists are nested too deeply") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _entry(origin: str, entry: Any) -> Expectation:
    if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
        raise UserError(f"{origin}: expected an object with a `type` such as expect_column_values_to_not_be_null")
    where = f"{origin} ({entry['type']})"
    unknown = sorted(entry.keys() - _KEYS)
    if unknown:
        raise UserError(f"{where}: unknown key {unknown[0]!r}; an expectation's arguments stand under `kwargs`")
    kwargs, description = entry.get("kwargs", {}), entry.get("description")
    if not isinstance(kwargs, dict):
        raise UserError(f"{where}: `kwargs` must be an object of arguments, got {kwargs!r:.60}")
    if description is not None and not isinstance(description, str):
        raise UserError(f"{where}: `description` must be text, got {description!r:.60}")
    if '"$PARAMETER":' in json.dumps(kwargs):
        raise UserError(f"{where}: asks for a $PARAMETER; write the value itself, so that Git keeps it")
    if kwargs.get("row_condition") is not None:
        _check_condition(where, kwargs["row_condition"])
    lasting = {key: value for key, value in kwargs.items() if key not in _OF_A_RUN}
    return Expectation(entry["type"], lasting, description or None, origin)


def _check_condition(where: str, condition: Any, depth: int = 1) -> None:
    """Check that a row condition compares columns with values, and no more.

    Great Expectations hands a condition to `DataFrame.query`, which evaluates Python: a text, an object of type
    `pass_through`, a backtick in a column's name or a nested value could run any code.

    Raises UserError for every other form.
    """
    if depth > _MOST_LEVELS:
        raise UserError(f"{where}: row_condition: is nested more than {_MOST_LEVELS} levels deep; simplify it")
    match condition:
        case {"type": "and" | "or", "conditions": [_, *_] as several}:
            for each in several:
                _check_condition(where, each, depth + 1)
        case {"type": "nullity", "column": {"name": str() as name}} if "`" not in name:
            pass
        case {"type": "comparison", "column": {"name": str() as name}, "parameter": value} if "`" not in name:
            values = value if isinstance(value, list) else [value]
            if not all(isinstance(each, str | int | float) for each in values):
                raise UserError(f"{where}: row_condition: `parameter` must be a value or a list of values")
        case _:
            raise UserError(
                f"{where}: row_condition: got {json.dumps(condition, ensure_ascii=False)!s:.60}, which could run code; "
                f"write an object such as {_CONDITION}, or several under `conditions` of the type `and` or `or`"
            )
