"""``params.yaml`` as frozen typed values; whatever is not allowed is refused before any work."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages._errors import UserError

ModelName = Literal[
    "random_forest",
    "extra_trees",
    "hist_gradient_boosting",
    "gradient_boosting",
    "logistic_regression",
    "ridge",
]
ColumnName = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DataParams(_Section):
    """Which table, and what its columns are for."""

    path: Annotated[str, Field(min_length=1)]
    target: ColumnName
    task: Literal["auto", "classification", "regression"]
    ignore: list[ColumnName]
    categorical: list[ColumnName]
    missing: list[str]


class SplitParams(_Section):
    """How test rows are set apart from training rows."""

    method: Literal["random", "time", "group"]
    test_size: Annotated[float, Field(ge=0.05, le=0.5)]
    time_column: ColumnName | None
    group_column: ColumnName | None


class ValidateParams(_Section):
    """The gate on data: a Great Expectations suite beside the structural expectations."""

    suite: Annotated[str, Field(min_length=1)] | None


class EvaluateParams(_Section):
    """How the exported model is scored."""

    threshold: Annotated[float, Field(ge=0, le=1)]
    bootstrap: Annotated[int, Field(ge=20, le=10_000)]


class RegisterParams(_Section):
    """When a model becomes champion."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}$")]
    min_gain: Share
    tolerance: Share
    required: bool


class Params(_Section):
    """All of ``params.yaml``."""

    model: ModelName
    n_estimators: Annotated[int, Field(ge=1, le=10_000)]
    max_depth: Annotated[int, Field(ge=1, le=64)] | None
    min_samples_leaf: Annotated[int, Field(ge=1, le=1_000_000)]
    max_features: Literal["sqrt", "log2"] | Annotated[float, Field(gt=0, le=1)] | None
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    l2_penalty: Annotated[float, Field(ge=1e-9, le=1e9)]
    class_weight: Literal["balanced"] | None
    random_state: Annotated[int, Field(ge=0, le=2**32 - 1)]
    data: DataParams
    split: SplitParams
    validation: Annotated[ValidateParams, Field(alias="validate")]
    evaluate: EvaluateParams
    registration: Annotated[RegisterParams, Field(alias="register")]

    @model_validator(mode="after")
    def _roles_fit(self) -> Self:
        roles = {"split.time_column": self.split.time_column, "split.group_column": self.split.group_column}
        needed = {"time": "split.time_column", "group": "split.group_column"}.get(self.split.method)
        if needed and roles[needed] is None:
            raise ValueError(f"{needed}: got null; split.method {self.split.method} needs the name of a column")
        if self.data.target in self.data.ignore:
            raise ValueError(f"data.ignore: names the target {self.data.target!r}; take it out of the list")
        for key, column in roles.items():
            if column == self.data.target:
                raise ValueError(f"{key}: got {column!r}, which is data.target; name another column")
        return self


def load(path: Path) -> Params:
    """Read and check the file.

    Raises
    ------
    UserError
        One line that names the key, the value and what is allowed.
    """
    try:
        # DVC's own parser (YAML 1.2): PyYAML would read 1e-5 as text and `no` as false.
        raw = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run this in the repository's root") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not YAML: {error}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: expected keys and values, got {type(raw).__name__}")
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"{path}: " + "; ".join(dict.fromkeys(map(_line, error.errors())))) from None


def _line(error: Any) -> str:
    # A union's members appear in `loc` after the key; only names that stand in the file are told.
    keys = [str(part) for part in error["loc"] if not str(part).startswith(("constrained-", "literal["))]
    key = ".".join(keys).removesuffix(".float").removesuffix(".int").removesuffix(".str")
    match error["type"]:
        case "value_error":
            return str(error["ctx"]["error"])
        case "extra_forbidden":
            return f"{key}: unknown key (value {error['input']!r}); allowed: {', '.join(_allowed_keys(keys[:-1]))}"
        case "missing":
            return f"{key}: missing"
        case _:
            return f"{key}: got {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}"


def _allowed_keys(section: list[str]) -> list[str]:
    model: Any = Params
    for name in section:
        model = next(f.annotation for n, f in model.model_fields.items() if name in (n, f.alias))
    return [field.alias or name for name, field in model.model_fields.items()]
