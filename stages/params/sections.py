"""The sections of ``params.yaml``, and which values each key allows."""

import contextlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from service.cells import EVERY_COLUMN, parse_moment

ColumnName = Annotated[str, Field(min_length=1)]
FeatureName = Annotated[str, Field(pattern=r"^\w[\w -]{0,99}\z")]
Share = Annotated[float, Field(ge=0, le=1)]
MIN_ROWS = 20
"""The table must have at least this many rows with a target."""
MISSING = ("", "NA", "NaN", "nan", "null", "NULL", "None")
"""The texts that mean "no value" unless data.missing names others."""


class Section(BaseModel):
    """A group of keys; it refuses keys that it does not know, and values of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _checked(check: Callable[[str], object]) -> AfterValidator:
    def validate(text: str) -> str:
        try:
            check(text)
        except LookupError as error:  # Pydantic catches only ValueError
            raise ValueError from error
        return text

    return AfterValidator(validate)


def _check_form(form: str) -> None:
    """Raise ValueError unless `service.cells.parse_date` supports `form`."""
    if "%" in form:
        with contextlib.suppress(ValueError, re.error):
            parse_moment(datetime.now(UTC).strftime(form), form)
            return
    elif re.fullmatch("[dmYy]{2,3}", form) and "m" in form and len(set(form.lower())) == len(form):
        return
    raise ValueError("expected an order such as Ymd, dmY, mdY or mY, or a format such as %d/%m/%Y %H:%M")


def expect(text: str, default: Any = None) -> Any:
    """Return a field with a description of what is allowed, for errors."""
    return Field(default, json_schema_extra={"expected": text})


def _refuse_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(value)  # noqa: TRY004  # Pydantic catches only ValueError
    return value


_NOT_BOOLEAN = BeforeValidator(_refuse_boolean)
"""Needed before `Literal`, which takes true for 1 and false for 0."""
Direction = Annotated[Literal[1, -1], _NOT_BOOLEAN]
_AUTO = BeforeValidator(lambda value: None if value == "auto" else value)
"""`auto` becomes None, which means that the value is detected."""
_Character = Annotated[str, Field(pattern=r'^[^"\r\n]\z')]
_Encoding = Annotated[str, _checked(lambda name: str(b" ", name, "replace"))]
_Form = Annotated[str, _checked(_check_form)]


class DataParams(Section):
    """The table, and the roles of its columns."""

    path: Annotated[str, Field(min_length=1)]
    target: ColumnName
    task: Literal["auto", "classification", "regression"] = "auto"
    ignore: list[ColumnName] = []
    positive: bool | int | str | None = None
    categorical: list[ColumnName] = []
    strict: list[ColumnName] = []
    weight: ColumnName | None = None
    rare_classes: Literal["error", "drop", "join"] = "error"
    missing: list[str] | dict[str, list[str]] = expect(
        "a list of texts in quotes, or such lists by column, with '*' for all others", list(MISSING)
    )
    delimiter: Annotated[_Character | None, _AUTO] = expect("auto or one character other than a quote or a line break")
    encoding: Annotated[_Encoding | None, _AUTO] = expect("auto or an encoding that Python knows, such as cp1252")
    decimal: Annotated[Literal[".", ","] | None, _AUTO] = expect("auto, '.' or ','")
    dates: Annotated[_Form | dict[str, _Form | None] | None, _AUTO] = expect(
        "auto, an order such as dmY, a format such as %d/%m/%Y %H:%M, or these by column"
    )

    @property
    def missing_by_column(self) -> dict[str, tuple[str, ...]]:
        """The texts that mean "no value", by column; ``*`` is for those not named."""
        by_column = self.missing if isinstance(self.missing, dict) else {EVERY_COLUMN: self.missing}
        return {EVERY_COLUMN: MISSING} | {name: tuple(texts) for name, texts in by_column.items()}


class SplitParams(Section):
    """How rows are split into training and test rows."""

    method: Literal["random", "time", "group"]
    test_size: Annotated[float, Field(ge=0.05, le=0.5)]
    time_column: ColumnName | None = None
    group_column: ColumnName | None = None
    key: ColumnName | None = None

    @property
    def column(self) -> str | None:
        """The column that decides which rows are test rows; None if the row's content does."""
        return {"time": self.time_column, "group": self.group_column, "random": self.key}[self.method]

    @property
    def setting(self) -> str:
        """The setting that names `column`."""
        return {"time": "split.time_column", "group": "split.group_column", "random": "split.key"}[self.method]


class ValidateParams(Section):
    """The Great Expectations suite, in addition to the structural expectations."""

    suite: Annotated[str, Field(min_length=1)] | None = None


class TrainParams(Section):
    """Which training rows a model is fitted on."""

    sample: Annotated[int, Field(ge=MIN_ROWS)] | None = None


Name = str | int | bool
_LARGEST_COST = 1e12
"""Sums of larger costs would overflow."""
_COST = Annotated[float, Field(ge=0, le=_LARGEST_COST)]
_ERROR_COST = Annotated[float, Field(gt=0, le=_LARGEST_COST)]


class Costs(Section):
    """What predictions cost, in any unit: of two classes by their wrong predictions, of more by a matrix."""

    false_positive: _ERROR_COST | None = None
    false_negative: _ERROR_COST | None = None
    matrix: dict[Name, dict[Name, _COST]] | None = expect(
        "for each true class the costs by predicted class, from 0 to 1e12, with '*' for all others"
    )
    currency: Annotated[str, Field(min_length=1, max_length=20)] | None = expect("a text of 1 to 20 characters or null")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        pair = [name for name in ("false_positive", "false_negative") if getattr(self, name) is not None]
        if len(pair) != (0 if self.matrix else 2):
            got = ", ".join([*pair, *(["matrix"] if self.matrix is not None else [])]) or "neither"
            raise ValueError(f"evaluate.costs: got {got}; expected both false_positive and false_negative, or a matrix")
        return self


_Level = Annotated[float, Field(gt=0, lt=1)]


class EvaluateParams(Section):
    """How the exported model is scored."""

    threshold: Share | Literal["auto"]
    costs: Costs | None = None
    groups: list[ColumnName] = []
    coverage: _Level | Annotated[list[_Level], Field(min_length=1)] | None = expect(
        "a number between 0 and 1, a list of such numbers, or null", 0.9
    )
    folds: Annotated[Literal[0], _NOT_BOOLEAN] | Annotated[int, Field(ge=2, le=20)] | None = expect(
        "0 (off) or 2 to 20", 5
    )
    worst_rows: Annotated[int, Field(ge=0, le=100), _NOT_BOOLEAN] = 0

    @property
    def coverage_levels(self) -> tuple[float, ...]:
        """The levels as a list without repetitions; empty for null."""
        wanted = self.coverage
        return tuple(dict.fromkeys(wanted if isinstance(wanted, list) else [] if wanted is None else [wanted]))

    @model_validator(mode="after")
    def _costs_choose(self) -> Self:
        if self.costs and self.threshold != "auto":
            raise ValueError(f"evaluate.costs: needs evaluate.threshold auto; got {self.threshold}")
        return self


Difference = Literal[
    "demographic_parity_difference",
    "equal_opportunity_difference",
    "equalized_odds_difference",
    "false_positive_rate_difference",
    "accuracy_score_difference",
    "calibration_error_difference",
    "mean_error_difference",
    "mean_absolute_error_difference",
]
"""The largest figure of a group minus the smallest, which `evaluate` writes to metrics.json."""
DIFFERENCES = get_args(Difference)


class RegisterParams(Section):
    """What a model is called, and when it may be released."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}$")] | None = expect(
        "a name of at most 100 letters a-z, digits, spaces, dots, hyphens, underscores or null", ...
    )
    min_gain: Share
    tolerance: Share
    required: bool
    max_difference: dict[Difference, Annotated[float, Field(gt=0)]] = expect(
        f"bounds above 0 by difference, such as {{equalized_odds_difference: 0.1}}; there are {', '.join(DIFFERENCES)}",
        {},
    )
