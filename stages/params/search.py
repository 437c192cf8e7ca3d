"""Parse `search`: for each hyperparameter a range, or a list of the values to try."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from stages.params.sections import Section

Scalar = bool | int | float | str | None
EXAMPLE = "{learning_rate: {low: 0.01, high: 0.3, log: true}, max_depth: [4, 8, null]}"


class Range(Section):
    """All numbers from `low` to `high`, both included; whole numbers if both are."""

    low: int | float
    high: int | float
    log: bool = Field(default=False)
    """Whether small numbers are tried as densely as large ones: as many from 0.01 to 0.1 as from 0.1 to 1."""

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low}; with log: true it must be above 0")
        return self


Space = dict[str, Range | tuple[Scalar, ...]]
"""The values to try, by the hyperparameter's name."""
Settings = dict[str, Scalar]
"""Values of hyperparameters, by name."""


def parse(value: Any, allowed: Mapping[str, TypeAdapter[Any]]) -> Space | None:
    """Return the typed space; `allowed` are the hyperparameters that can be searched.

    Raises ValueError, which names the key.
    """
    if value is None:
        return None
    if not isinstance(value, dict) or not value:
        raise ValueError(
            f"search: got {value!r}; expected null or a range or list by hyperparameter, such as {EXAMPLE}"
        )
    return {name: _entry(name, entry, allowed) for name, entry in value.items()}


def _entry(name: Any, entry: Any, allowed: Mapping[str, TypeAdapter[Any]]) -> Range | tuple[Scalar, ...]:
    key = f"search.{name}"
    if name not in allowed:
        raise ValueError(f"{key}: cannot be searched; name one of {', '.join(allowed)}")
    if isinstance(entry, list) and entry:
        return tuple(dict.fromkeys(_checked(key, value, allowed[name]) for value in entry))
    if isinstance(entry, dict):
        return _range(key, entry, allowed[name])
    raise ValueError(f"{key}: got {entry!r}; expected a list of values, or a range such as {{low: 1, high: 9}}")


def _range(key: str, entry: dict[Any, Any], adapter: TypeAdapter[Any]) -> Range:
    try:
        Range.model_validate(entry)
        return Range.model_validate(
            {
                name: value if name == "log" else _checked(f"{key}.{name}", value, adapter)
                for name, value in entry.items()
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([key, *(str(part) for part in first["loc"][:1])])
        problem = first.get("ctx", {}).get("error", "expected low and high, and log: true or false")
        raise ValueError(f"{where}: {problem}, as in {{low: 0.01, high: 0.3, log: true}}") from None


def _checked(key: str, value: Any, adapter: TypeAdapter[Any]) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError:
        shown = "null" if value is None else value
        raise ValueError(f"{key}: got {shown}, which this hyperparameter does not allow") from None
