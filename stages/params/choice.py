"""What `model: auto` tried and chose; the stage `train` writes it, and later stages apply it to the parameters."""

import json
from typing import Any

from pydantic import TypeAdapter

from stages import files
from stages.params.boosters import LightGBMParams
from stages.params.params import Params
from stages.params.search import Settings
from stages.params.sections import Section


class Candidate(Section):
    """A model that was cross-validated."""

    name: str
    settings: Settings
    """Values of hyperparameters, `model` among them."""
    score: float
    """Mean of the main metric over the folds."""
    deviation: float
    """Standard deviation over the folds."""
    loss: float
    """Log loss or mean squared error of all out-of-fold predictions, by which the weights are chosen."""
    weight: float = 0.0
    """Its share in the average of the chosen models; 0 if it is not one of them."""

    def describe(self) -> str:
        """Return the settings as text."""
        shown = {name: json.dumps(value) if value is None else value for name, value in self.settings.items()}
        return ", ".join(f"{name} {value}" for name, value in shown.items())


class AveragedParams(Params):
    """The parameters of several models, of whose predictions the weighted average is served."""

    members: tuple[tuple[Params, float], ...]
    """Each model's parameters, with its weight."""


_LIST = TypeAdapter(list[Candidate])
_DEFAULTS: dict[str, Any] = {
    "n_estimators": 100,
    "early_stopping": None,
    "max_depth": "auto",
    "min_samples_leaf": "auto",
    "max_features": "auto",
    "learning_rate": 0.1,
    "l2_penalty": 1.0,
    "lightgbm": LightGBMParams(),
}


def apply(params: Params, settings: Settings) -> Params:
    """Return `params` with a candidate's hyperparameters; all others have their defaults."""
    return params.model_copy(update=_DEFAULTS).with_settings(settings)


def apply_choice(params: Params, candidates: list[Candidate]) -> Params:
    """Return the parameters of what was chosen; `params` itself if nothing was to be chosen."""
    members = tuple((apply(params, each.settings), each.weight) for each in candidates if each.weight)
    if not members:
        return params
    if len(members) == 1:
        return members[0][0]
    values = {name: getattr(params, name) for name in Params.model_fields}
    return AveragedParams.model_construct(**values | _DEFAULTS, members=members)


def describe_choice(candidates: list[Candidate]) -> str:
    """Return the chosen candidates with their weights, the largest first."""
    chosen = sorted((each for each in candidates if each.weight), key=lambda each: -each.weight)
    return " + ".join(f"{each.weight:.2g} {each.name}" if each.weight < 1 else each.name for each in chosen)


def write_candidates(candidates: list[Candidate]) -> None:
    """Write the candidates, the best first; an empty list if `model` names one."""
    files.write_json(files.CANDIDATES, _LIST.dump_python(candidates, mode="json"))


def read_candidates() -> list[Candidate]:
    """Return the candidates that `train` wrote."""
    return _LIST.validate_json(files.CANDIDATES.read_bytes())
