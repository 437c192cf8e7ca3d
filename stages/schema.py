"""``schema.json``: what `prepare` decided about every column, for people and for later stages."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from service.contract import Contract, Label
from stages import files

Kind = Literal["number", "text", "date"]
"""What a column's values are hashed as."""
_SHOWN = 5


class _Frozen(BaseModel):
    # Files of other versions are read too, to compare their models with this one.
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
    """Where the table's rows went."""

    read: int
    without_target: int
    train: int
    test: int
    classes: tuple[ClassRows, ...] = ()


class RareClasses(_Frozen):
    """What became of classes with fewer than 3 rows or without a training row."""

    setting: Literal["error", "drop", "join"]
    classes: dict[str, int]
    """Rows of each of them."""
    left_out: int = 0
    """Rows in neither part."""
    joined: int = 0
    """Rows of the class that they became together."""
    into: str | None = None
    """That class."""

    def names(self) -> str:
        """Return the first of the classes with their rows."""
        shown = [
            f"{name!r} {rows:,} row{'s' if rows > 1 else ''}" for name, rows in list(self.classes.items())[:_SHOWN]
        ]
        return ", ".join(shown) + (", …" if len(self.classes) > _SHOWN else "")

    def describe(self) -> str:
        """Return a sentence about what was done with which classes."""
        done = f"joined into the class {self.into!r}" if self.joined else "left out"
        done += " instead of joined, as all are test rows" if self.setting == "join" and not self.joined else ""
        return f"{len(self.classes):,} rare classes ({self.names()}): {self.joined or self.left_out:,} rows {done}"


class Split(_Frozen):
    """How the test rows were chosen: the rule that decides about any row, then or later."""

    method: Literal["random", "time", "group"]
    column: str | None
    """The column of the time, the group or the key; None if the row's content decides."""
    test_size: float | None = None
    """The share asked for. Without `time`, a row whose hash lies below this share of 2^64 is a test row."""
    share: float | None = None
    """The share reached."""
    content: dict[str, Kind] = {}
    """The columns that the hash of a row's content is made of: all but the target and those without a value."""
    reading: dict[str, Any] = {}
    """Settings, other than their defaults, that decide what a cell is read as."""
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
    """What a person should look at before trusting the model, in sentences."""
    contract: Contract
    left_out: tuple[LeftOut, ...]


def read_schema() -> Schema:
    """Return the schema that `prepare` wrote."""
    return Schema.model_validate_json(files.SCHEMA.read_text(encoding="utf-8"))
