"""What the service answers, as typed values."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

Label = bool | int | float | str
"""A class, or a number in a regression."""


class _Answer:
    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Return the members that this version of the client knows; a newer service may send more."""
        known = {each.name for each in fields(cls)}  # type: ignore[arg-type]  # each subclass is a dataclass
        return cls(**{name: value for name, value in document.items() if name in known})


@dataclass(frozen=True, slots=True)
class Model(_Answer):
    """Which model answered."""

    name: str
    version: str
    """MD5 of the model's file."""


@dataclass(frozen=True, slots=True)
class Warned(_Answer):
    """A value that training didn't have. The service predicts anyway."""

    field: str
    kind: Literal["unseen_category", "out_of_range"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one row."""

    prediction: Label
    probabilities: Mapping[str, float] | None
    """By name of the class; None in a regression."""
    model: Model
    warnings: tuple[Warned, ...] = ()
    prediction_id: str | None = None
    """With ``ids=True``: what `Client.feedback` needs."""
    interval: tuple[float, float] | None = None
    """With `coverage`, in a regression: lowest and highest value."""
    prediction_set: tuple[Label, ...] | None = None
    """With `coverage`, in a classification: the classes that hold the truth with this probability."""


@dataclass(frozen=True, slots=True)
class Feature(_Answer):
    """A feature and its values in training."""

    name: str
    type: Literal["number", "boolean", "category", "date"]
    nullable: bool
    strict: bool = False
    """True if the service refuses values that training didn't have."""
    categories: tuple[str, ...] | None = None
    minimum: float | str | None = None
    maximum: float | str | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo(_Answer):
    """The model in service."""

    name: str
    version: str
    """MD5 of the model's file."""
    release: str
    task: Literal["binary", "multiclass", "regression"]
    target: str
    classes: tuple[Label, ...]
    features: tuple[Feature, ...]
    positive: Label | None = None
    threshold: float | None = None
    """Binary: the positive class is predicted above this probability."""
    derived: Mapping[str, str] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    data_md5: str = ""
    highest_coverage: float | None = None
    """The highest `coverage` that `Client.predict` can ask for; None if the model has none."""

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Return the answer of GET /model-info."""
        features = tuple(map(Feature.read, document["features"]))
        return super(ModelInfo, cls).read({**document, "classes": tuple(document["classes"]), "features": features})


@dataclass(frozen=True, slots=True)
class Stored(_Answer):
    """How much feedback was stored."""

    new: int
    known: int
    """Outcomes that the service had already."""
