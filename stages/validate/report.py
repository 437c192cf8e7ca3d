"""The validation report: one self-contained HTML file, the same bytes for the same results."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from stages.table.findings import FIRST_ROW
from stages.validate.suite import Result, columns

_LONGEST = 600


def describe(result: Result, longest: int = _LONGEST) -> str:
    """Return a line about a result: the expectation and what was found, without control characters."""
    return _shorten(" | ".join(filter(None, _parts(result))), longest)


def html(results: Sequence[Result], facts: Sequence[str]) -> str:
    """Return the report: the verdict, `facts` (the table, its size, the suite), what failed, then all by column."""
    failed = [each for each in results if not each["success"]]
    verdict = f"Passed: all {len(results):,} expectations hold"
    if failed:
        verdict = f"Stopped: {len(failed):,} of {len(results):,} expectations failed"
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters |= {"shorten": _shorten, "texts": lambda each: map(_shorten, (_about(each), *_parts(each)))}
    by_column = sorted(results, key=_about)
    return pages.get_template("report.html.j2").render(verdict=verdict, facts=facts, failed=failed, results=by_column)


def _about(result: Result) -> str:
    return ", ".join(columns(result["expectation_config"]))


def _parts(result: Result) -> tuple[str, str, str]:
    """Return the expectation's sentence, what was found, and examples of unexpected values with their rows."""
    values = result["result"].get("partial_unexpected_list") or []
    rows = result["result"].get("partial_unexpected_index_list") or []
    places = [f"row {row + FIRST_ROW}: " for row in rows] if len(rows) == len(values) else [""] * len(values)
    examples = "; ".join(place + _word(value) for place, value in zip(places, values, strict=True))
    return str(result["expectation_config"]["description"]), _found(result), examples


def _found(result: Result) -> str:
    details, error = result["result"], result["exception_info"]["exception_message"]
    if error:
        return f"could not be evaluated: {error}"
    mismatched = (details.get("details") or {}).get("mismatched")  # of a set of columns
    observed = mismatched or details.get("observed_value")
    if observed is not None:
        return f"observed {_word(observed)}"
    count, percent = details.get("unexpected_count"), details.get("unexpected_percent")
    if count is None:
        return "" if result["success"] else "does not hold"
    return f"{count:,} unexpected rows" + (f" ({percent:.3g} %)" if percent is not None else "")


def _word(value: Any) -> str:
    return value if isinstance(value, str) and value.strip() else json.dumps(value, ensure_ascii=False)


def _shorten(text: str, longest: int = _LONGEST) -> str:
    text = "".join(letter if letter.isprintable() else "�" for letter in text)
    return text if len(text) <= longest else text[: longest - 1] + "…"
