"""What is searched: the default for the model, or what params.yaml says, with an error that names the key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from stages.errors import UserError
from stages.params.loading import load_params
from stages.params.params import ModelName, Params
from stages.params.search import Range
from stages.search.experiments import with_settings
from stages.search.spaces import DEFAULTS, space_of

ROWS = 10_000
MODELS = sorted(set(get_args(ModelName)) - {"auto", "dummy"})


@pytest.mark.parametrize("model", MODELS)
def test_each_model_has_a_default_that_its_hyperparameters_allow(model: str, params: Callable[..., Params]) -> None:
    space = space_of(params(model=model), ROWS)
    written = {name: entry.model_dump() if isinstance(entry, Range) else list(entry) for name, entry in space.items()}

    assert space_of(params(model=model, search=written), ROWS) == space


@pytest.mark.parametrize(("rows", "most"), [(0, 3), (200, 10), (10_000, 200)])
def test_few_rows_are_not_cut_into_fewer_leaves_than_a_tree_needs(
    params: Callable[..., Params], rows: int, most: int
) -> None:
    assert space_of(params(model="lightgbm"), rows)["min_samples_leaf"] == Range(low=2, high=most, log=True)


def test_ranges_and_lists_are_told_apart_and_typed(params: Callable[..., Params]) -> None:
    search = {
        "max_depth": [4, None],
        "learning_rate": {"low": 0.01, "high": 1, "log": True},
        "lightgbm.num_leaves": [7],
    }

    assert params(model="lightgbm", search=search).search == {
        "max_depth": (4, None),
        "learning_rate": Range(low=0.01, high=1.0, log=True),
        "lightgbm.num_leaves": (7,),
    }


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("[n_estimators]", "search: got ['n_estimators']; expected null or"),
        ("{trees: [5]}", "search.trees: cannot be searched; name one of n_estimators"),
        ("{model: [ridge]}", "search.model: cannot be searched"),
        ("{n_estimators: 5}", "search.n_estimators: got 5; expected a list of values, or a range"),
        ("{n_estimators: []}", "search.n_estimators: got []"),
        ("{n_estimators: [0]}", "search.n_estimators: got 0, which this hyperparameter does not allow"),
        ("{n_estimators: {low: 5}}", "search.n_estimators.high: expected low and high"),
        ("{n_estimators: {low: 5, high: 5}}", "search.n_estimators: low 5 is not below high 5"),
        ("{n_estimators: {low: 5, high: 9, step: 2}}", "search.n_estimators.step: expected low and high"),
        ("{learning_rate: {low: 0.1, high: 2}}", "search.learning_rate.high: got 2, which"),
        ("{max_depth: {low: auto, high: 9}}", "search.max_depth.low: expected low and high"),
    ],
)
def test_an_error_names_the_key(root: Path, tmp_path: Path, search: str, message: str) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8").replace("search: null", f"search: {search}")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(UserError) as raised:
        load_params(tmp_path / "params.yaml")

    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("model", "search", "message"),
    [
        ("dummy", None, "model: dummy has nothing to search"),
        ("random_forest", {"learning_rate": [0.1]}, r"search\.learning_rate: model random_forest does not use it"),
        (
            "catboost",
            {"max_depth": {"low": 2, "high": 20}},
            r"search\.max_depth: got 20; model catboost allows",
        ),
        ("random_forest", {"lightgbm.num_leaves": [7]}, r"search\.lightgbm\.num_leaves: model random_forest does not"),
    ],
)
def test_what_the_model_does_not_use_or_allow_is_refused(
    params: Callable[..., Params], model: str, search: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        space_of(params(model=model, search=search), ROWS)


def test_settings_change_only_their_values_in_params_yaml(root: Path) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8")
    changed = with_settings(text, {"max_depth": None, "lightgbm.num_leaves": 7})
    pairs = [(old, new) for old, new in zip(text.splitlines(), changed.splitlines(), strict=True) if old != new]

    assert [new.split("#")[0].strip() for _, new in pairs] == ["max_depth: null", "num_leaves: 7"]
    assert [new.split("#")[1] for _, new in pairs] == [old.split("#")[1] for old, _ in pairs]


def test_defaults_are_for_models_only() -> None:
    assert sorted(DEFAULTS) == MODELS
