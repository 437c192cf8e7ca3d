"""What became of the expectations: for ``validation.json`` and for the terminal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from typing import Any

from stages.validate.suite import Expectation

_LONGEST_LIST = 20
_DIGITS = 12
_SHOWN = 20
_WIDTHS = (70, 50, 70)


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


def as_json(outcomes: Sequence[Outcome], rows: int, columns: int) -> dict[str, Any]:
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


def column_names(outcome: Outcome) -> str:
    """The names of the outcome's columns, for people; empty for an expectation about the whole table."""
    return ", ".join(outcome.expectation.columns)


def found(outcome: Outcome) -> str:
    """What was seen, in a few words."""
    if outcome.error:
        return f"could not be evaluated: {outcome.error}"
    if outcome.observed is not None:
        return f"observed {word(outcome.observed)}"
    if outcome.unexpected_count is None:
        return "" if outcome.success else "does not hold"
    if outcome.unexpected_share is None:
        return f"{outcome.unexpected_count:,} unexpected values"
    return f"{outcome.unexpected_count:,} unexpected rows ({outcome.unexpected_share * 100:.3g} %)"


def word(value: Any) -> str:
    """A value for people, without the control characters that a terminal would obey."""
    if value is None:
        return "missing"
    if isinstance(value, dict):
        return "; ".join(f"{key}: {word(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(word, value))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
    return value if isinstance(value, str) and value.isprintable() and value == value.strip() != "" else repr(value)


def failures(outcomes: Sequence[Outcome]) -> list[str]:
    """The lines of a table of what failed, for the terminal, long cells cut."""
    failed = [outcome for outcome in outcomes if not outcome.success]
    rows = [("expectation", "found", "examples")]
    rows += [(each.sentence, found(each), _examples(each)) for each in failed[:_SHOWN]]
    cells = [[shortened(cell, width) for cell, width in zip(row, _WIDTHS, strict=True)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    rest = len(failed) - _SHOWN
    return lines if rest <= 0 else [*lines, f"and {rest:,} more"]


def _examples(outcome: Outcome) -> str:
    rows = [(f"row {each.row}: " if each.row is not None else "", word(each.value)) for each in outcome.examples]
    return "; ".join(row + value for row, value in rows)


def shortened(text: str, width: int) -> str:
    """At most `width` characters, none of which a terminal would obey."""
    text = "".join(letter if letter.isprintable() else "�" for letter in text)
    return text if len(text) <= width else text[: width - 1] + "…"
