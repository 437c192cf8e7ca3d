"""``schema.json``: what `prepare` decided about every column, for people and for later stages."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from service.contract import Contract


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LeftOut(_Frozen):
    """A column that is no feature."""

    name: str
    reason: str


class Rows(_Frozen):
    """Where the table's rows went."""

    read: int
    without_target: int
    train: int
    test: int
    test_of_unlearnt_class: int = 0
    """Rows of classes that no training row has; in neither part (splits by time and group)."""


class Split(_Frozen):
    """How the test rows were set apart."""

    method: Literal["random", "time", "group"]
    column: str | None
    train_from: str | None = None
    """First and last moment of the training rows, for a split by time."""
    train_to: str | None = None
    test_from: str | None = None
    test_to: str | None = None


class Schema(_Frozen):
    """The whole file."""

    rows: Rows
    split: Split
    columns: dict[str, str] = {}
    """What became of each column but the target, in words, in the table's order."""
    contract: Contract
    left_out: tuple[LeftOut, ...]
