"""All of ``params.yaml``: the model's hyperparameters and the sections, and what must fit together."""

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import ConfigDict, Field, TypeAdapter, field_validator, model_validator
from pydantic.fields import FieldInfo

from stages.errors import UserError
from stages.params import expressions
from stages.params.boosters import CatBoostParams, LightGBMParams, XGBoostParams
from stages.params.naming import model_name
from stages.params.search import Space, parse
from stages.params.sections import (
    ColumnName,
    DataParams,
    Direction,
    EvaluateParams,
    FeatureName,
    RegisterParams,
    Section,
    SplitParams,
    TrainParams,
    ValidateParams,
    expect,
)

ModelName = Literal[
    "random_forest",
    "extra_trees",
    "hist_gradient_boosting",
    "gradient_boosting",
    "lightgbm",
    "xgboost",
    "catboost",
    "logistic_regression",
    "ridge",
    "dummy",
    "auto",
]
Factory = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*\z")]
"""A function that returns the estimator, as package.module:function."""
_CATBOOST_DEPTH = 16
_WITHOUT_ROUNDS = ("random_forest", "extra_trees", "logistic_regression", "ridge", "dummy")

_NOT_SEARCHED = {
    *("model", "calibration", "monotone", "random_state", "early_stopping", "factory", "features", "search"),
    *("data", "split", "validation", "train", "evaluate", "registration"),
}


class Params(Section):
    """All of ``params.yaml``."""

    model: ModelName | Factory = expect(f"{', '.join(get_args(ModelName))} or package.module:function", ...)
    n_estimators: Annotated[int, Field(ge=1, le=10_000)]
    early_stopping: Annotated[int, Field(ge=1, le=1_000)] | None = None
    max_depth: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] | None
    min_samples_leaf: Annotated[int, Field(ge=1, le=1_000_000)] | Literal["auto"]
    max_features: Literal["auto", "sqrt", "log2"] | Annotated[float, Field(gt=0, le=1)] | None
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    l2_penalty: Annotated[float, Field(ge=1e-9, le=1e9)]
    class_weight: Literal["balanced"] | None
    calibration: Literal["sigmoid", "isotonic", "temperature"] | None = None
    monotone: dict[ColumnName, Direction] = expect("for each feature 1 (rising) or -1 (falling)", {})
    random_state: Annotated[int, Field(ge=0, le=2**32 - 1)]
    lightgbm: LightGBMParams = LightGBMParams()
    xgboost: XGBoostParams = XGBoostParams()
    catboost: CatBoostParams = CatBoostParams()
    factory: dict[str, Any] = expect("names of arguments, each with its value", {})
    features: dict[FeatureName, str] = expect(
        "names of letters, digits, spaces, - and _, each with an expression in quotes", {}
    )
    data: DataParams
    split: SplitParams
    validation: Annotated[ValidateParams, Field(alias="validate")]
    train: TrainParams = TrainParams()
    evaluate: EvaluateParams
    registration: Annotated[RegisterParams, Field(alias="register")]
    # No stage uses it, so it is no part of a run's parameters.
    search: Annotated[Space | None, Field(exclude=True)] = None

    @property
    def registered_name(self) -> str:
        """The model's name in releases and in the registry."""
        return self.registration.name or model_name(self.data.path, self.data.target)

    @field_validator("search", mode="before")
    @classmethod
    def _parse_search(cls, value: Any) -> Space | None:
        return parse(value, cls.hyperparameters())

    @classmethod
    def hyperparameters(cls) -> dict[str, TypeAdapter[Any]]:
        """Return what may be searched, `lightgbm.num_leaves` for a key in a group: all but the model and the seed."""
        found: dict[str, TypeAdapter[Any]] = {}
        for name, field in cls.model_fields.items():
            group = field.annotation
            if name not in _NOT_SEARCHED and isinstance(group, type) and issubclass(group, Section):
                found |= {f"{name}.{inner}": _adapter(each) for inner, each in group.model_fields.items()}
            elif name not in _NOT_SEARCHED:
                found[name] = _adapter(field)
        return found

    def flat(self, mode: Literal["json", "python"] = "python") -> dict[str, Any]:
        """Return all parameters, with dotted names for those in sections; `mode` as in `model_dump`."""
        flat: dict[str, Any] = {}
        for key, value in self.model_dump(mode=mode, by_alias=True).items():
            flat |= {f"{key}.{name}": each for name, each in value.items()} if isinstance(value, dict) else {key: value}
        return flat

    def settings(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the values of some `hyperparameters`, by name."""
        return {name: attrgetter(name)(self) for name in names}

    def with_settings(self, settings: Mapping[str, Any]) -> Self:
        """Return these params with other values of `hyperparameters`."""
        changed: dict[str, Any] = {}
        for key, value in settings.items():
            name, _, inner = key.partition(".")
            group = changed.get(name, getattr(self, name))
            changed[name] = group.model_copy(update={inner: value}) if inner else value
        return self.model_copy(update=changed)

    @model_validator(mode="after")
    def _roles_fit(self) -> Self:
        split = self.split
        roles = {f"split.{name}": getattr(split, name) for name in ("time_column", "group_column", "key")}
        if split.method != "random" and split.column is None:
            raise ValueError(f"{split.setting}: got null; split.method {split.method} needs the name of a column")
        for key, names in (("data.ignore", self.data.ignore), ("data.strict", self.data.strict)):
            if self.data.target in names:
                raise ValueError(f"{key}: names the target {self.data.target!r}; take it out of the list")
        weight = self.data.weight
        if weight is not None and weight in split.model_dump().values():
            raise ValueError(f"data.weight: got {weight!r}, which split needs; name another column")
        roles["data.weight"] = weight
        for key, column in roles.items():
            if column == self.data.target:
                raise ValueError(f"{key}: got {column!r}, which is data.target; name another column")
            if key in {split.setting, "split.key", "data.weight"} and column in self.data.ignore:
                raise ValueError(f"data.ignore: names {column!r}, which {key} needs; take it out of the list")
        return self

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        if self.data.target in self.evaluate.groups:
            raise ValueError(f"evaluate.groups: names the target {self.data.target!r}; name other columns")
        if self.registration.max_difference and not self.evaluate.groups:
            raise ValueError(
                "register.max_difference: bounds differences of groups; name their columns in evaluate.groups"
            )
        return self

    @property
    def read_data(self) -> DataParams:
        """`data`, whose ignored columns are only those that no feature and no group uses either."""
        parsed = [expressions.parse(name, text) for name, text in self.features.items()]
        used = {name for each in parsed for name, _ in expressions.names(each)} | set(self.evaluate.groups)
        return self.data.model_copy(update={"ignore": [name for name in self.data.ignore if name not in used]})

    @model_validator(mode="after")
    def _features_are_no_columns(self) -> Self:
        data, split = self.data, self.split
        named = {f"data.{key}": getattr(data, key) for key in ("strict", "categorical", "missing", "dates")}
        named |= {"data.weight": [data.weight], "evaluate.groups": self.evaluate.groups}
        named |= {f"split.{key}": [getattr(split, key)] for key in ("time_column", "group_column", "key")}
        for key, names in named.items():
            for name in self.features:
                if isinstance(names, list | dict) and name in names:
                    raise ValueError(f"{key}: names {name!r}, which `features` computes; name a column of the table")
        return self

    @model_validator(mode="after")
    def _features_parse(self) -> Self:
        problems = []
        for name, text in self.features.items():
            try:
                expressions.parse(name, text)
            except UserError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _model_fits(self) -> Self:
        if (self.data.task, self.model) in (("classification", "ridge"), ("regression", "logistic_regression")):
            raise ValueError(f"model: got {self.model!r}, which is not for data.task {self.data.task}")
        if self.data.task == "regression" and self.evaluate.costs:
            raise ValueError("evaluate.costs: are for classes; data.task regression needs null")
        for key in ("class_weight", "calibration"):
            if self.data.task == "regression" and getattr(self, key):
                raise ValueError(f"{key}: got {getattr(self, key)!r}; data.task regression needs null")
        if self.model == "catboost" and self.max_depth != "auto" and not 1 <= (self.max_depth or 0) <= _CATBOOST_DEPTH:
            got = "null" if self.max_depth is None else self.max_depth
            raise ValueError(f"max_depth: got {got}; model catboost allows 1 to {_CATBOOST_DEPTH} or auto")
        return self

    @model_validator(mode="after")
    def _model_uses(self) -> Self:
        """Refuse what can be null and the model would ignore."""
        is_own = ":" in self.model
        if self.early_stopping and (is_own or self.model in _WITHOUT_ROUNDS):
            reason = "set it there" if is_own else "it doesn't learn in rounds"
            raise ValueError(f"early_stopping: got {self.early_stopping}; model {self.model} needs null: {reason}")
        if self.class_weight and (is_own or self.model == "dummy"):
            reason = "set it there" if is_own else "it learns the shares of the classes"
            raise ValueError(f"class_weight: got {self.class_weight!r}; model {self.model} needs null: {reason}")
        return self


def _adapter(field: FieldInfo) -> TypeAdapter[Any]:
    return TypeAdapter(Annotated[field.annotation, field], config=ConfigDict(strict=True))  # type: ignore[arg-type]
