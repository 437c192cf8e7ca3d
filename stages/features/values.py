"""The values of an expression's parts."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from service.contract import CategoryFeature, DateFeature

Kind = Literal["number", "boolean", "text", "date"]
_EXACT = frozenset({"Abs", "Ceil", "Floor", "Max", "Min", "Neg", "Round", "Where"})
"""Operators whose result is in float32 if their operands are."""
_ROUNDED = _EXACT | {"Add", "Div", "Mul", "Sqrt", "Sub"}
"""Operators that give the same float32 whether a double is rounded or the operands are float32 (Figueroa 1995)."""


@dataclass(frozen=True, eq=False)
class Value:
    """A part of an expression: its type, and where it comes from: one of the fields below."""

    kind: Kind
    constant: float | str | None = None
    column: str = ""
    """A column of the encoded matrix."""
    feature: CategoryFeature | DateFeature | None = None
    """The feature of a text or a date."""
    tensor: str = ""
    """A tensor of shape (rows, 1): double for numbers, float32 (1, 0, NaN) for booleans that may be missing, else bool.

    For a number with an operator, its condition: a bool that comes before the operands.
    """
    operator: str = ""
    """The ONNX operator of a number. It isn't in the graph until its precision is known."""
    operands: tuple["Value", ...] = ()
    is_nullable: bool = False
    """True for booleans that may be missing."""

    @cached_property
    def is_exact(self) -> bool:
        """Whether float32 holds every value of a number."""
        if isinstance(self.constant, float):
            with np.errstate(over="ignore"):
                return float(np.float32(self.constant)) == self.constant
        if self.kind == "boolean" or self.column:
            return True
        return self.operator in _EXACT and all(operand.is_exact for operand in self.operands)

    @cached_property
    def is_rounded_alike(self) -> bool:
        """Whether an operator in float32 gives what the same in double gives, rounded to float32."""
        return self.operator in _ROUNDED and all(operand.is_exact for operand in self.operands)

    def __str__(self) -> str:
        """Return what an error says about it."""
        if self.constant is not None:
            return repr(self.constant)
        what = {"number": "a number", "boolean": "true or false", "text": "text", "date": "a date"}[self.kind]
        return f"{what} ({self.feature.name})" if self.feature else what


def apply(operator: str, *operands: Value, condition: str = "") -> Value:
    """Return the number that an ONNX operator gives."""
    return Value("number", operator=operator, operands=operands, tensor=condition)
