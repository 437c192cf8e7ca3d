"""The validation report: one HTML file for people, complete in itself."""

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from stages._outcomes import Outcome

_STYLE = "body{font:15px sans-serif;margin:2em} td,th{border:1px solid #ccc;text-align:left} .False{background:#fdd}"


def html(outcomes: Sequence[Outcome], title: str, report: dict[str, Any]) -> str:
    """Give the report as a page with one row an expectation; `report` is what validation.json holds."""
    rows = "".join(_row(entry) for entry in report["expectations"])
    failed = sum(not entry["success"] for entry in report["expectations"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Validation of {escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1><p>{len(outcomes)} expectations, {failed} failed</p>"
        f"<table><tr><th>expectation<th>holds<th>details</tr>{rows}</table></html>\n"
    )


def _row(entry: dict[str, Any]) -> str:
    details = {key: value for key, value in entry.items() if key not in ("type", "success")}
    cells = (entry["type"], str(entry["success"]), json.dumps(details, ensure_ascii=False))
    return f'<tr class="{entry["success"]}">' + "".join(f"<td>{escape(cell)}" for cell in cells) + "</tr>"
