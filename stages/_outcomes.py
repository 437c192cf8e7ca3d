"""What became of the expectations: for ``validation.json`` and for the terminal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from typing import Any

from stages._suite import Expectation

_LONGEST_LIST = 20
_DIGITS = 12
_SHOWN = 20
_WIDTHS = (44, 20, 34, 22, 60)


@dataclass(frozen=True, slots=True)
class Example:
    """An unexpected value and the row it stands in, numbered as `_tables` numbers rows."""

    row: int | None
    value: Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """An expectation and what the table said to it.

    `observed` is a JSON value, or None where the expectation is about each row. Then
    `unexpected_count` and `unexpected_share` (0 to 1, of the rows that have a value) tell
    how many rows were against it, and `examples` are the first of them. `error` says why
    the expectation could not be evaluated.
    """

    expectation: Expectation
    sentence: str
    success: bool
    observed: Any = None
    unexpected_count: int | None = None
    unexpected_share: float | None = None
    examples: tuple[Example, ...] = ()
    error: str | None = None


def as_json(outcomes: Sequence[Outcome], *, rows: int, columns: int) -> dict[str, Any]:
    """The content of ``validation.json``: the same for the same table and suite, whenever and wherever."""
    return {
        "success": all(outcome.success for outcome in outcomes),
        "rows": rows,
        "columns": columns,
        "evaluated": len(outcomes),
        "failed": sum(not outcome.success for outcome in outcomes),
        "expectations": [_entry(outcome) for outcome in outcomes],
    }


def _entry(outcome: Outcome) -> dict[str, Any]:
    entry = {
        "type": outcome.expectation.type,
        "kwargs": plain(outcome.expectation.kwargs),
        "success": outcome.success,
        "observed_value": outcome.observed,
        "unexpected_count": outcome.unexpected_count,
        "unexpected_share": outcome.unexpected_share,
    }
    return entry | ({"error": outcome.error} if outcome.error else {})


def plain(value: Any) -> Any:
    """`value` as JSON: NumPy's scalars unwrapped, sets sorted, long lists cut, NaN as null, infinities as text."""
    value = value.item() if hasattr(value, "item") and not hasattr(value, "__len__") else value
    match value:
        case None | bool() | int():
            return value
        case float():
            return _number(value)
        case dict():
            return {_text(key): plain(each) for key, each in value.items()}
        case set() | frozenset():
            return _list(sorted(value, key=lambda each: (type(each).__name__, str(each))))
        case list() | tuple():
            return _list(value)
        case _:
            return _text(value)


def _number(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else str(value)


def _list(values: Sequence[Any]) -> list[Any]:
    cut = [plain(each) for each in values[:_LONGEST_LIST]]
    return cut if len(values) <= _LONGEST_LIST else [*cut, f"and {len(values) - _LONGEST_LIST:,} more"]


def _text(value: Any) -> str:
    text = value.isoformat() if isinstance(value, (date, time)) else str(value)
    return text.encode("utf-8", "backslashreplace").decode()


def columns(outcome: Outcome) -> str:
    """The names of the outcome's columns, for people; empty for an expectation about the whole table."""
    return ", ".join(outcome.expectation.columns)


def observation(outcome: Outcome) -> str:
    """What was seen, in a few words."""
    if outcome.error:
        return f"not evaluated: {outcome.error}"
    return "" if outcome.observed is None else _word(outcome.observed)


def unexpected(outcome: Outcome) -> str:
    """How many rows were against the expectation, as ``12 (0.4 %)``."""
    if outcome.unexpected_count is None:
        return ""
    return f"{outcome.unexpected_count:,} ({(outcome.unexpected_share or 0) * 100:.3g} %)"


def examples(outcome: Outcome) -> str:
    """The examples as ``row 12: 'XX'; row 40: 'YY'``."""
    return "; ".join((f"row {e.row:,}: " if e.row is not None else "") + _word(e.value) for e in outcome.examples)


def _word(value: Any) -> str:
    # repr() escapes control characters, which a terminal would obey.
    return value if isinstance(value, str) and value.isprintable() and value == value.strip() else repr(value)


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """The lines of a table for the terminal, one an outcome, long cells cut."""
    rows = [("expectation", "column", "observed", "unexpected rows", "examples")]
    rows += [(o.sentence, columns(o), observation(o), unexpected(o), examples(o)) for o in outcomes[:_SHOWN]]
    cells = [[_cut(cell, width) for cell, width in zip(row, _WIDTHS, strict=True)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    rest = len(outcomes) - _SHOWN
    return lines if rest <= 0 else [*lines, f"and {rest:,} more"]


def _cut(text: str, width: int) -> str:
    text = "".join(letter if letter.isprintable() else "�" for letter in text)
    return text if len(text) <= width else text[: width - 1] + "…"
