"""The values of an expression's parts."""

from dataclasses import dataclass
from typing import Literal

from service.contract import CategoryFeature, DateFeature

Kind = Literal["number", "boolean", "text", "date"]


@dataclass(frozen=True, slots=True)
class Value:
    """A part of an expression: its type, and its tensor of shape (rows, 1) or its constant."""

    kind: Kind
    tensor: str = ""
    """Double for numbers, and for booleans that may be missing (1, 0 or NaN); bool for other booleans."""
    column: str = ""
    """The column of the matrix, if it is one."""
    feature: CategoryFeature | DateFeature | None = None
    constant: float | str | None = None
    is_nullable: bool = False
    """True for booleans that may be missing."""

    def __str__(self) -> str:
        """Return what an error says about it."""
        if self.constant is not None:
            return repr(self.constant)
        what = {"number": "a number", "boolean": "true or false", "text": "text", "date": "a date"}[self.kind]
        return f"{what} ({self.feature.name})" if self.feature else what
