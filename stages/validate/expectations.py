"""Great Expectations behind one door: the only module that imports it."""

import contextlib
import difflib
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from string import Template
from typing import Any

import pandas as pd

from stages.errors import UserError
from stages.table.findings import FIRST_ROW
from stages.validate.outcomes import Example, Outcome, plain
from stages.validate.suite import Expectation

os.environ["GX_ANALYTICS_ENABLED"] = "false"
os.environ["TQDM_DISABLE"] = "1"

_OPTIONAL = ("boto3", "botocore", "google", "rfc3987_syntax")


@contextlib.contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    """Let imports of optional packages find none: it spares 1.5 s of the 3.6 s that Great Expectations takes."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules |= dict.fromkeys(absent)  # type: ignore[arg-type]  # None is Python's word for: not to be found
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


with _without(_OPTIONAL), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its imports warn about themselves; nobody here can mend that
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError, GreatExpectationsError
    from great_expectations.expectations import registry
    from great_expectations.render.renderer.inline_renderer import InlineRenderer

_EXAMPLES = 3
_LONGEST_ERROR = 200
_BRIEF = {"result_format": "BASIC", "partial_unexpected_count": 0}
# The query for unexpected rows is a text with the number of every one of them: never asked for.
_DETAILED = {
    "result_format": "SUMMARY",
    "partial_unexpected_count": _EXAMPLES,
    "return_unexpected_index_query": False,
}


def evaluate(table: pd.DataFrame, expectations: Sequence[Expectation]) -> list[Outcome]:
    """Hold the expectations against the table, whose index must be 0, 1, 2, ….

    Outcomes come in the order of `expectations`. Great Expectations copies the rows it looks
    at with all their columns, so it is given the few columns that an expectation needs: time
    and memory then grow with the table, not with the table times its columns.

    Raises UserError, naming the expectation, for a type it does not know or arguments it does not take.
    """
    built = [_build(place, each) for place, each in enumerate(expectations)]
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, each in enumerate(expectations):
        groups.setdefault(_needed(each, table), []).append(place)
    results: dict[int, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        definition = _definition()
        for names, places in groups.items():
            narrow = table[list(names)] if names else table
            batch = definition.get_batch(batch_parameters={"dataframe": narrow})
            results |= _results(batch, [built[place] for place in places])
        outcomes = [_outcome(each, built[place], results[place]) for place, each in enumerate(expectations)]
    return [_without_column(outcome, table) for outcome in outcomes]


def _without_column(outcome: Outcome, table: pd.DataFrame) -> Outcome:
    """Say which column is not there; Great Expectations' own words depend on the expectation's type."""
    absent = next((name for name in outcome.expectation.columns if name not in table.columns), None)
    return replace(outcome, error=f"the table has no column {absent}") if outcome.error and absent else outcome


def _build(place: int, expectation: Expectation) -> Any:
    where = f"{expectation.origin} ({expectation.type})"
    try:
        made = registry.get_expectation_impl(expectation.type)
    except ExpectationNotFoundError:
        near = difflib.get_close_matches(expectation.type, registry.list_registered_expectation_implementations(), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{where}: Great Expectations knows no such type{hint}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of `condition_parser`, which suites of older versions carry
            return made(**expectation.kwargs, description=expectation.description, meta={"place": place})
    except (GreatExpectationsError, TypeError, ValueError) as error:
        raise UserError(f"{where}: {_complaint(error)}") from None


def _complaint(error: Exception) -> str:
    if not hasattr(error, "errors"):
        return str(error)
    first = error.errors()[0]
    argument = ".".join(str(part) for part in first["loc"] if part != "__root__")
    return f"{argument}: {first['msg']}" if argument else str(first["msg"])


def _needed(expectation: Expectation, table: pd.DataFrame) -> tuple[str, ...]:
    """The columns that an expectation reads; none where that cannot be told, or where it is about the table."""
    if not expectation.columns:
        return ()
    conditional = _conditioned_on(expectation.kwargs.get("row_condition"))
    return tuple(sorted({*expectation.columns, *conditional} & set(table.columns)))


def _conditioned_on(condition: Any) -> set[str]:
    if not isinstance(condition, Mapping):
        return set()
    column = condition.get("column")
    own = {str(column["name"])} if isinstance(column, Mapping) and "name" in column else set()
    return own.union(*(_conditioned_on(each) for each in condition.get("conditions", [])))


def _definition() -> Any:
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("table")
    return asset.add_batch_definition_whole_dataframe("whole")


def _results(batch: Any, built: Sequence[Any]) -> dict[int, Any]:
    """Results by the place in `meta`; examples are looked for where an expectation failed, as that costs time."""
    results = _run(batch, built, _BRIEF)
    failed = [each for each in built if not results[each.meta["place"]].success]
    return results | (_run(batch, failed, _DETAILED) if failed else {})


def _run(batch: Any, built: Sequence[Any], result_format: dict[str, Any]) -> dict[int, Any]:
    suite = gx.ExpectationSuite("table", expectations=built)
    results = batch.validate(suite, result_format=result_format).results
    return {result.expectation_config.meta["place"]: result for result in results}


def _outcome(expectation: Expectation, built: Any, result: Any) -> Outcome:
    found = result.result
    percent = found.get("unexpected_percent")
    return Outcome(
        expectation=expectation,
        sentence=_sentence(built),
        success=bool(result.success),
        observed=plain(_observed(found, success=bool(result.success))),
        unexpected_count=found.get("unexpected_count"),
        unexpected_share=None if percent is None else plain(percent / 100),
        examples=() if result.success else _examples(found),
        error=_error(result.exception_info),
    )


def _observed(found: Mapping[str, Any], *, success: bool) -> Any:
    """What was seen; of a set of columns that does not match, those that make the difference."""
    mismatched = (found.get("details") or {}).get("mismatched")
    if success or not isinstance(mismatched, Mapping):
        return found.get("observed_value")
    return {kind: sorted(names) for kind, names in sorted(mismatched.items()) if names}


def _examples(found: Mapping[str, Any]) -> tuple[Example, ...]:
    values = (found.get("partial_unexpected_list") or [])[:_EXAMPLES]
    rows = found.get("partial_unexpected_index_list") or []
    if len(rows) < len(values):
        return tuple(Example(None, plain(value)) for value in values)
    return tuple(Example(int(row) + FIRST_ROW, plain(value)) for row, value in zip(rows, values, strict=False))


def _error(info: Mapping[str, Any]) -> str | None:
    """The first message in alphabetical order: Great Expectations keeps them under hashes."""
    infos = [info] if "raised_exception" in info else info.values()
    messages = sorted({str(each["exception_message"]) for each in infos if each["raised_exception"]})
    if not messages:
        return None
    return re.sub(r"^Error: | in BatchData| at 0x[0-9a-f]+", "", " ".join(messages[0].split()))[:_LONGEST_ERROR]


def _sentence(built: Any) -> str:
    """Great Expectations' own words for an expectation, or its author's."""
    if built.description:
        return str(built.description)
    value: Any = InlineRenderer(render_object=built.configuration).get_rendered_content()[0].value.to_json_dict()
    value = value.get("header", {}).get("value", value)  # of a table or a graph, its heading
    if "template" not in value:
        return f"{built.expectation_type} {json.dumps(plain(built.configuration.kwargs), ensure_ascii=False)}"
    words = {name: str(param["value"]) for name, param in value.get("params", {}).items()}
    return " ".join(Template(value["template"]).safe_substitute(words).split())
