"""The adapter to Great Expectations: the only module that imports it."""

import difflib
import gc
import json
import math
import os
import re
import warnings
from collections.abc import Sequence
from string import Template
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stages.entry import importing, without
from stages.errors import UserError
from stages.stored import BATCH, Table
from stages.validate.suite import Entry, Result, columns

os.environ["GX_ANALYTICS_ENABLED"] = "false"

_OF_A_RUN = {"batch_id", "result_format", "catch_exceptions"}
"""Arguments about how to run, which a suite saved from a run contains."""
STRUCTURAL = "structural"
"""The origin of the expectations for every table."""
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_LONGEST_ERROR = 200
_LONGEST_LIST = 20
_DIGITS = 12
_BRIEF = {"result_format": "BASIC", "partial_unexpected_count": 0}
# The query for unexpected rows lists the number of every one of them, so it is off.
_DETAILED = {"result_format": "SUMMARY", "partial_unexpected_count": 3, "return_unexpected_index_query": False}
_CONTEXT: Any = SimpleNamespace(progress_bars={"globally": False})
"""The only attribute of a data context that a validator uses."""

with importing(), without("boto3", "botocore", "google", "rfc3987_syntax", "sqlalchemy"), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about its own imports
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError, GreatExpectationsError
    from great_expectations.execution_engine.pandas_execution_engine import PandasExecutionEngine
    from great_expectations.expectations import registry
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.render.renderer.inline_renderer import InlineRenderer
    from great_expectations.validator.validator import Validator


class _Engine(PandasExecutionEngine):  # type: ignore[misc]
    """Filters rows by the one condition of a group once, not for each metric, and in pieces, which take less memory."""

    _filtered: pd.DataFrame | None = None

    def _apply_row_condition_filter(self, data: pd.DataFrame, *condition: Any) -> pd.DataFrame:
        if self._filtered is None:
            apply = super()._apply_row_condition_filter
            pieces = (data.iloc[start : start + BATCH] for start in range(0, max(len(data), 1), BATCH))
            self._filtered = pd.concat([apply(piece, *condition) for piece in pieces])
        return self._filtered


def evaluate(table: Table, entries: Sequence[Entry], origin: str = STRUCTURAL) -> list[Result]:
    """Compare the table, whose index must be 0, 1, 2, …, with the expectations; return results in their order.

    Great Expectations copies the rows it looks at with all their columns, so it gets only the
    columns that an expectation needs: time and memory grow with the table, not with the table
    times its columns.

    Raises UserError for an unknown type or invalid arguments.
    """
    groups: dict[_Needed, list[Any]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place, entry in enumerate(entries):
            expectation = _build(f"{origin}, expectation {place + 1}", entry)
            expectation.meta = {"place": place}
            groups.setdefault(_needed(entry, table), []).append(expectation.configuration)
        found: dict[int, Any] = {}
        gc.freeze()  # else each collection looks through all that was imported
        for needed, group in groups.items():
            found |= _run(_read(table, needed), group)
            gc.collect()  # what Great Expectations holds of the columns refers to itself
        return [_result(origin, entry, found[place], table) for place, entry in enumerate(entries)]


def _build(where: str, entry: Entry) -> Any:
    # A date without a time becomes a `date`, which can't be compared with the table's timestamps.
    kwargs = {
        key: f"{value}T00:00:00" if key in ("min_value", "max_value") and _DAY.fullmatch(str(value)) else value
        for key, value in entry["kwargs"].items()
        if key not in _OF_A_RUN
    }
    try:
        return ExpectationConfiguration(**{**entry, "kwargs": kwargs, "id": None}).to_domain_obj()
    except ExpectationNotFoundError:
        near = difflib.get_close_matches(entry["type"], registry.list_registered_expectation_implementations(), 1)
        problem = "Great Expectations has no such type" + (f"; did you mean {near[0]}?" if near else "")
    except (GreatExpectationsError, TypeError, ValueError) as error:
        # The first of pydantic's errors: the argument and the reason.
        first: Any = error.errors()[0] if hasattr(error, "errors") else {"loc": (), "msg": error}
        problem = ": ".join([*(str(part) for part in first["loc"] if part != "__root__"), str(first["msg"])])
    raise UserError(f"{where} ({entry['type']}): {problem}")


class _Needed(NamedTuple):
    """What an expectation reads. Those that read the same run together, and share what they count."""

    names: tuple[str, ...]
    is_about_table: bool
    """Whether the names of all columns count."""
    condition: str


def _needed(entry: Entry, table: Table) -> _Needed:
    named = columns(entry)
    is_about_table = not any(name in table for name in named)
    row_condition = entry["kwargs"].get("row_condition")
    conditions: list[Any] = [row_condition]
    for condition in conditions:
        if isinstance(condition, dict):
            named.append(condition.get("column", {}).get("name"))
            conditions += condition.get("conditions", [])
    return _Needed(tuple(sorted(set(named) & set(table.columns))), is_about_table, json.dumps(row_condition))


def _read(table: Table, needed: _Needed) -> pd.DataFrame:
    """Return the columns; if all columns count, the others have zeros, which take no memory."""
    if not needed.is_about_table:
        return table[list(needed.names)]
    every = list(table.columns)
    frame = pd.DataFrame(np.broadcast_to(np.zeros((), np.int8), (len(table), len(every))), columns=every, copy=False)
    for name in needed.names:
        frame[name] = table[name]
    return frame


def _run(rows: pd.DataFrame, group: list[Any]) -> dict[int, Any]:
    """Return results by place; failed expectations run again for examples, which take longer."""
    found: dict[int, Any] = {}
    # There is no data source, because it would hash all rows twice.
    validator: Any = Validator(_Engine(batch_data_dict={"table": rows}), data_context=_CONTEXT)
    for result_format in (_BRIEF, _DETAILED):
        results = validator.graph_validate(group, {"result_format": result_format}) if group else []
        found |= {each.expectation_config.meta["place"]: each for each in results}
        group = [each for each in group if not found[each.meta["place"]].success]
    return found


def _result(origin: str, entry: Entry, found: Any, table: Table) -> Result:
    """Return Great Expectations' own JSON without what differs between two runs."""
    error = _error(found.exception_info)
    absent = [name for name in columns(entry) if name not in table.columns]
    if error and absent:  # Great Expectations' message depends on the type
        error = f"the table has no column {absent[0]}"
    config = found.expectation_config
    result = {
        "success": bool(found.success),
        "expectation_config": {
            "type": entry["type"],
            "kwargs": entry["kwargs"],
            "description": config.description or _sentence(config),
            "meta": {"origin": origin},
        },
        "result": found.to_json_dict()["result"],
        "exception_info": {"raised_exception": error is not None, "exception_message": error},
    }
    return {key: _plain(value) for key, value in result.items()}


def _error(info: dict[str, Any]) -> str | None:
    """Return the first message in alphabetical order: their order in Great Expectations is random."""
    infos = [info] if "raised_exception" in info else list(info.values())
    messages = sorted(str(each["exception_message"]) for each in infos if each["raised_exception"])
    return re.sub(r" at 0x[0-9a-f]+", "", " ".join(messages[0].split()))[:_LONGEST_ERROR] if messages else None


def _plain(value: Any) -> Any:
    """Return JSON that is the same on every machine: numbers with 12 digits, infinities as text, short lists."""
    match value:
        case dict():
            return {str(key): _plain(each) for key, each in value.items()}
        case list():
            more = len(value) - _LONGEST_LIST
            return [*map(_plain, value[:_LONGEST_LIST]), *([f"and {more:,} more"] if more > 0 else [])]
        case float():
            return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else str(value)
        case _:
            return value


def _sentence(config: Any) -> str:
    """Return Great Expectations' own sentence for an expectation."""
    value: Any = InlineRenderer(render_object=config).get_rendered_content()[0].value.to_json_dict()
    value = value.get("header", {}).get("value", value)  # of a table or a graph, its heading
    words = {name: str(param["value"]) for name, param in value.get("params", {}).items()}
    return " ".join(Template(value.get("template", config.type)).safe_substitute(words).split())
