"""The settings of params.yaml for how cells are read, each checked before any work."""

from collections.abc import Callable
from typing import Any

from service.cells import check_form

MISSING = ("", "NA", "NaN", "nan", "null", "NULL", "None")
"""The texts that mean "no value" unless data.missing names others."""


def check_rule(key: str, value: Any) -> Any:
    """Return the setting, None if it is to be found out. Raises ValueError with what is expected."""
    if value is None or (value == "auto" and key != "missing"):
        return None
    expected, fits = _RULES[key]
    try:
        valid = fits(value)
    except (ValueError, TypeError, LookupError):
        valid = False
    if not valid:
        raise ValueError(f"data.{key}: got {value!r}; expected {expected}")
    return value


def _is_missing(value: Any) -> bool:
    lists = list(value.values()) if isinstance(value, dict) else [value]
    names = list(value) if isinstance(value, dict) else []
    return all(isinstance(each, list) for each in lists) and all(isinstance(text, str) for text in sum(lists, names))


def _is_form(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(name, str) and (form is None or _is_form(form)) for name, form in value.items())
    check_form(value)
    return True


_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "missing": ("a list of texts in quotes, or such lists by column, with '*' for all others", _is_missing),
    "delimiter": (
        "auto or one character other than a quote or a line break",
        lambda value: len(value) == 1 and value not in '"\r\n',
    ),
    "encoding": (
        "auto or an encoding that Python knows, such as cp1252",
        lambda value: isinstance(b" ".decode(value, "replace"), str),
    ),
    "decimal": ("auto, '.' or ','", lambda value: value in (".", ",")),
    "dates": ("auto, an order such as dmY, a format such as %d/%m/%Y %H:%M, or these by column", _is_form),
}
