"""``schema.json``: what `prepare` decided about every column, for people and for later stages."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from service.contract import Contract, Label
from stages import files

Kind = Literal["number", "text", "date"]
"""The type that a column's values are hashed as."""
_SHOWN = 5


class _Frozen(BaseModel):
    # Files of other versions are read too, to compare models.
    model_config = ConfigDict(frozen=True, extra="ignore")


class LeftOut(_Frozen):
    """A column that is no feature."""

    name: str
    reason: str


class ClassRows(_Frozen):
    """How many rows a class has on either side."""

    label: Label
    train: int
    test: int


class Rows(_Frozen):
    """The numbers of rows: read, without a target, training and test."""

    read: int
    without_target: int
    train: int
    test: int
    classes: tuple[ClassRows, ...] = ()


class RareClasses(_Frozen):
    """Classes with fewer than 3 rows or without a training row, and what was done with them."""

    setting: Literal["error", "drop", "join"]
    classes: dict[str, int]
    """The rows of each class."""
    left_out: int = 0
    """Rows that are neither training nor test rows."""
    joined: int = 0
    """Rows of the joined class."""
    into: str | None = None
    """The name of the joined class."""

    def names(self) -> str:
        """Return the first classes with their rows, as text."""
        shown = [f"{name!r} {_count(rows, 'row', 'rows')}" for name, rows in list(self.classes.items())[:_SHOWN]]
        return ", ".join(shown) + (", …" if len(self.classes) > _SHOWN else "")

    def describe(self) -> str:
        """Return a sentence about the classes and what was done with them."""
        done = f"joined into the class {self.into!r}" if self.joined else "left out"
        done += " instead of joined, as all are test rows" if self.setting == "join" and not self.joined else ""
        rare = _count(len(self.classes), "rare class", "rare classes")
        return f"{rare} ({self.names()}): {_count(self.joined or self.left_out, 'row', 'rows')} {done}"


def _count(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"


class Split(_Frozen):
    """The rule of the split, which also decides about later rows."""

    method: Literal["random", "time", "group"]
    column: str | None
    """The column of the time, the group or the key; None if the row's content decides."""
    test_size: float | None = None
    """The setting. Unless the method is time, a row whose hash, from 0 to 1, is below it is a test row."""
    share: float | None = None
    """The actual share of test rows."""
    content: dict[str, Kind] = {}
    """The columns in the hash of a row's content: all except the target and those without any value."""
    reading: dict[str, Any] = {}
    """The settings that affect how a cell is read and differ from their defaults."""
    hash_column: str | None = None
    """The column of ``test.parquet`` that holds the hash of each row's content."""
    train_from: str | None = None
    """First and last moment of the training rows, for a split by time."""
    train_to: str | None = None
    test_from: str | None = None
    test_to: str | None = None


class Schema(_Frozen):
    """The whole file."""

    rows: Rows
    split: Split
    rare_classes: RareClasses | None = None
    findings: tuple[str, ...] = ()
    """Sentences about what a person should check before trusting the model."""
    contract: Contract
    left_out: tuple[LeftOut, ...]


def read_schema() -> Schema:
    """Return the schema that `prepare` wrote."""
    return Schema.model_validate_json(files.SCHEMA.read_text(encoding="utf-8"))
