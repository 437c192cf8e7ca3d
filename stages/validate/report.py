"""The validation report: one self-contained HTML file, the same bytes for the same results."""

import json
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from stages.table.findings import FIRST_ROW
from stages.validate.suite import Result, columns

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .4rem .6rem; border-top: 1px solid #d9dfe6; }
td, p { overflow-wrap: anywhere; }
.good { color: #17713b; } .bad { color: #b3261e; } .dim { color: #5b6675; }
"""
_LONGEST = 600


def describe(result: Result, longest: int = _LONGEST) -> str:
    """Return a line about a result: the expectation and what was found, with nothing a terminal would obey."""
    parts = (_sentence(result), _found(result), _examples(result))
    return _shorten(" | ".join(part for part in parts if part), longest)


def html(results: Sequence[Result], facts: Sequence[str]) -> str:
    """Return the report: the verdict, `facts` (the table, its size, the suite), what failed, then all by column."""
    failed = [each for each in results if not each["success"]]
    verdict = f"Stopped: {len(failed):,} of {len(results):,} expectations failed"
    if not failed:
        verdict = f"Passed: all {len(results):,} expectations hold"
    style = "bad" if failed else "good"
    parts = [
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Data validation: {verdict}</title>',
        f'<style>{_STYLE}</style>\n</head>\n<body>\n<h1>Data validation</h1>\n<p class="{style}"><b>{verdict}</b></p>',
        f'<p class="dim">{" · ".join(map(_text, facts))}</p>',
        *(["<h2>What failed</h2>", *_table(failed)] if failed else []),
        *("<h2>All expectations</h2>", *_table(sorted(results, key=_about))),
        "</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _table(results: Sequence[Result]) -> Iterator[str]:
    yield "<table>\n<tr><th></th><th>column</th><th>expectation</th><th>found</th><th>examples</th></tr>"
    for each in results:
        mark = '<td class="good">✓</td>' if each["success"] else '<td class="bad">✗</td>'
        cells = (_about(each), _sentence(each), _found(each), _examples(each))
        yield f"<tr>{mark}{''.join(f'<td>{_text(cell)}</td>' for cell in cells)}</tr>"
    yield "</table>"


def _about(result: Result) -> str:
    return ", ".join(columns(result["expectation_config"]))


def _sentence(result: Result) -> str:
    return str(result["expectation_config"]["description"])


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


def _examples(result: Result) -> str:
    values = result["result"].get("partial_unexpected_list") or []
    rows = result["result"].get("partial_unexpected_index_list") or []
    places = [f"row {row + FIRST_ROW}: " for row in rows] if len(rows) == len(values) else [""] * len(values)
    return "; ".join(place + _word(value) for place, value in zip(places, values, strict=True))


def _word(value: Any) -> str:
    return value if isinstance(value, str) and value.strip() else json.dumps(value, ensure_ascii=False)


def _text(text: str) -> str:
    return escape(_shorten(text, _LONGEST))


def _shorten(text: str, longest: int) -> str:
    text = "".join(letter if letter.isprintable() else "�" for letter in text)
    return text if len(text) <= longest else text[: longest - 1] + "…"
