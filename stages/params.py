"""Load ``params.yaml`` into frozen, typed values; an invalid value is an error before any work begins."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from service.cells import EVERY_COLUMN, check_form
from stages import files
from stages.errors import UserError

ModelName = Literal[
    "random_forest",
    "extra_trees",
    "hist_gradient_boosting",
    "gradient_boosting",
    "logistic_regression",
    "ridge",
    "dummy",
]
ColumnName = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]
MIN_ROWS = 20
"""The table must have at least this many rows with a target."""
MISSING = ("", "NA", "NaN", "nan", "null", "NULL", "None")
"""The texts that mean "no value" unless data.missing names others."""
_LONGEST_VALUE = 60
_LONGEST_NAME = 90
_NAMES = {(str(files.DEMO), "arrival"): "flights"}
"""Names by table and target that `model_name` would not give: the one of the demo."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _checked(check: Callable[[str], object]) -> AfterValidator:
    def validate(text: str) -> str:
        try:
            check(text)
        except LookupError as error:  # Pydantic catches only ValueError
            raise ValueError from error
        return text

    return AfterValidator(validate)


def _expect(text: str, default: Any = None) -> Any:
    """Return a field with a description of what is allowed, for errors."""
    return Field(default, json_schema_extra={"expected": text})


_AUTO = BeforeValidator(lambda value: None if value == "auto" else value)
"""`auto` becomes None, which means that the value is detected."""
_Character = Annotated[str, Field(pattern=r'^[^"\r\n]\z')]
_Encoding = Annotated[str, _checked(lambda name: str(b" ", name, "replace"))]
_Form = Annotated[str, _checked(check_form)]


class DataParams(_Section):
    """The table, and the roles of its columns."""

    path: Annotated[str, Field(min_length=1)]
    target: ColumnName
    task: Literal["auto", "classification", "regression"] = "auto"
    ignore: list[ColumnName] = []
    positive: bool | int | str | None = None
    categorical: list[ColumnName] = []
    strict: list[ColumnName] = []
    rare_classes: Literal["error", "drop", "join"] = "error"
    missing: list[str] | dict[str, list[str]] = _expect(
        "a list of texts in quotes, or such lists by column, with '*' for all others", list(MISSING)
    )
    delimiter: Annotated[_Character | None, _AUTO] = _expect("auto or one character other than a quote or a line break")
    encoding: Annotated[_Encoding | None, _AUTO] = _expect("auto or an encoding that Python knows, such as cp1252")
    decimal: Annotated[Literal[".", ","] | None, _AUTO] = _expect("auto, '.' or ','")
    dates: Annotated[_Form | dict[str, _Form | None] | None, _AUTO] = _expect(
        "auto, an order such as dmY, a format such as %d/%m/%Y %H:%M, or these by column"
    )

    @property
    def missing_by_column(self) -> dict[str, tuple[str, ...]]:
        """The texts that mean "no value", by column; ``*`` is for those not named."""
        by_column = self.missing if isinstance(self.missing, dict) else {EVERY_COLUMN: self.missing}
        return {EVERY_COLUMN: MISSING} | {name: tuple(texts) for name, texts in by_column.items()}


class SplitParams(_Section):
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


class ValidateParams(_Section):
    """The Great Expectations suite, in addition to the structural expectations."""

    suite: Annotated[str, Field(min_length=1)] | None = None


class Costs(_Section):
    """What a wrong prediction of a binary model costs, in any unit."""

    false_positive: Annotated[float, Field(gt=0)]
    false_negative: Annotated[float, Field(gt=0)]


class EvaluateParams(_Section):
    """How the exported model is scored."""

    threshold: Share | Literal["auto"]
    costs: Costs | None = None
    folds: Literal[0] | Annotated[int, Field(ge=2, le=20)] | None = _expect("0 (off) or 2 to 20", 5)

    @model_validator(mode="after")
    def _costs_choose(self) -> Self:
        if self.costs and self.threshold != "auto":
            raise ValueError(f"evaluate.costs: needs evaluate.threshold auto; got {self.threshold}")
        return self


class RegisterParams(_Section):
    """What a model is called, and when it may be released."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}$")] | None = _expect(
        "a name of at most 100 letters a-z, digits, spaces, dots, hyphens, underscores or null", ...
    )
    min_gain: Share
    tolerance: Share
    required: bool


class Params(_Section):
    """All of ``params.yaml``."""

    model: ModelName
    n_estimators: Annotated[int, Field(ge=1, le=10_000)]
    max_depth: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] | None
    min_samples_leaf: Annotated[int, Field(ge=1, le=1_000_000)] | Literal["auto"]
    max_features: Literal["auto", "sqrt", "log2"] | Annotated[float, Field(gt=0, le=1)] | None
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    l2_penalty: Annotated[float, Field(ge=1e-9, le=1e9)]
    class_weight: Literal["balanced"] | None
    random_state: Annotated[int, Field(ge=0, le=2**32 - 1)]
    data: DataParams
    split: SplitParams
    validation: Annotated[ValidateParams, Field(alias="validate")]
    evaluate: EvaluateParams
    registration: Annotated[RegisterParams, Field(alias="register")]

    @property
    def registered_name(self) -> str:
        """The model's name in releases and in the registry."""
        return self.registration.name or model_name(self.data.path, self.data.target)

    @model_validator(mode="after")
    def _roles_fit(self) -> Self:
        split = self.split
        roles = {f"split.{name}": getattr(split, name) for name in ("time_column", "group_column", "key")}
        needed = {"time": "split.time_column", "group": "split.group_column"}.get(split.method)
        if needed and roles[needed] is None:
            raise ValueError(f"{needed}: got null; split.method {split.method} needs the name of a column")
        for key, names in (("data.ignore", self.data.ignore), ("data.strict", self.data.strict)):
            if self.data.target in names:
                raise ValueError(f"{key}: names the target {self.data.target!r}; take it out of the list")
        for key, column in roles.items():
            if column == self.data.target:
                raise ValueError(f"{key}: got {column!r}, which is data.target; name another column")
            if key in {needed, "split.key"} and column in self.data.ignore:
                raise ValueError(f"data.ignore: names {column!r}, which {key} needs; take it out of the list")
        return self

    @model_validator(mode="after")
    def _model_fits(self) -> Self:
        if (self.data.task, self.model) in (("classification", "ridge"), ("regression", "logistic_regression")):
            raise ValueError(f"model: got {self.model!r}, which is not for data.task {self.data.task}")
        if self.data.task == "regression" and self.class_weight:
            raise ValueError(f"class_weight: got {self.class_weight!r}; data.task regression needs null")
        return self


def load_params(path: Path = files.PARAMS) -> Params:
    """Load and check the file. Raises UserError, one line with each wrong key, its value and what is allowed."""
    raw = _read(path)
    if not isinstance(raw, dict):
        content = "is empty" if raw is None else f"holds {_shown(raw)}"
        raise UserError(f"{path}: {content}; expected {_expected(Params.model_json_schema())}")
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        lines = dict.fromkeys(_line(each, raw) for each in error.errors())
        raise UserError(f"{path}: {'; '.join(lines)}") from None


def model_name(path: str, target: str) -> str:
    """Return the name of a model that has no ``register.name``: table and target, such as ``mine-arrival``.

    Folders below ``data/`` and ``data/raw/`` are part of it. If a character is not allowed in a
    registry's names, it is replaced and six digits of a hash are added, so that two tables never
    share a name by accident.
    """
    if (path, target) in _NAMES:
        return _NAMES[path, target]
    parts = list(PurePosixPath(path).parts)
    while len(parts) > 1 and parts[0] in ("/", ".", "data", "raw"):
        parts.pop(0)
    words = [*parts[:-1], parts[-1].partition(".")[0] if parts else "", target]
    name = "-".join(filter(None, (re.sub(r"[^A-Za-z0-9._]+", "-", word).strip("-.") for word in words))).lstrip("_-")
    if name == "-".join(words) and len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.md5("\0".join(words).encode(), usedforsecurity=False).hexdigest()[:6]
    return f"{name[:_LONGEST_NAME]}-{digest}".lstrip("-")


def _read(path: Path) -> Any:
    try:
        # DVC's own parser (YAML 1.2): PyYAML would read 1e-5 as text and `no` as false.
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path}: not found; run this in the repository's root") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line, problem = (f"line {mark.line + 1}: ", getattr(error, "problem", error)) if mark else ("", error)
        raise UserError(f"{path}: {line}is not YAML: {problem}; correct it") from None


def _line(error: Any, raw: Any) -> str:
    """Convert one of Pydantic's errors to key, value and what is allowed."""
    schema, name = _find(error["loc"])
    if error["type"] == "value_error" and "expected" not in schema:
        return str(error["ctx"]["error"])
    if error["type"] in ("extra_forbidden", "invalid_key"):
        unknown = ".".join(map(str, error["loc"])).removesuffix(".[key]")
        return f"{unknown}: unknown key; allowed{f' under {name}' if name else ''}: {', '.join(schema['properties'])}"
    if error["type"] == "missing":
        return f"{name}: missing; expected {_expected(schema)}"
    for key in name.split("."):
        raw = raw[key]
    return f"{name}: got {_shown(raw)}; expected {_expected(schema)}"


def _find(location: tuple[int | str, ...]) -> tuple[dict[str, Any], str]:
    """Return the JSON schema of the key at `location`, and the key's dotted name.

    After the keys, Pydantic adds the members of a union and positions in a list; these are left out.
    """
    whole = Params.model_json_schema()
    schema, keys = whole, list[str]()
    for part in map(str, location):
        if part not in schema.get("properties", {}):
            break
        keys.append(part)
        schema = schema["properties"][part]
        section = next((each["$ref"] for each in schema.get("anyOf", [schema]) if "$ref" in each), None)
        schema = whole["$defs"][section.rpartition("/")[2]] if section else schema
    return schema, ".".join(keys)


def _expected(schema: dict[str, Any]) -> str:
    """Describe in words what a JSON schema allows."""
    if "expected" in schema:
        return str(schema["expected"])
    if "properties" in schema:
        return f"the keys {', '.join(schema['properties'])}"
    if "anyOf" in schema:
        return " or ".join(map(_expected, schema["anyOf"]))
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if values:
        return ", ".join(values)
    if schema["type"] == "array":
        return f"a list, each {_expected(schema['items'])}"
    kinds = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "null": "null"}
    kind = kinds.get(schema["type"], "text (in quotes if it looks like a number)")
    bounds = {"exclusiveMinimum": "above", "minimum": "from", "maximum": "to"}
    return " ".join([kind, *(f"{word} {schema[key]:.10g}" for key, word in bounds.items() if key in schema)])


def _shown(value: Any) -> str:
    """Return the value as in YAML, on one line and cut if it is long."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
