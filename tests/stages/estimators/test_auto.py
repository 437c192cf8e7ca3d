"""`model: auto` compares fixed candidates by cross-validation, and chooses one or an average of several."""

import os
from collections.abc import Callable

import joblib
import numpy as np
import pandas as pd
import pytest

from stages.errors import UserError
from stages.estimators import auto, fitting
from stages.params.choice import Candidate, apply_choice
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.schema import Split
from stages.search.spaces import space_of

Make = Callable[..., Params]
RANDOM = Split(method="random", column=None)


@pytest.fixture
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every candidate have few trees."""
    monkeypatch.setattr(auto, "_BOOSTED", {"learning_rate": 0.3, "early_stopping": 5})
    monkeypatch.setattr(auto, "_MOST_TREES", 100)
    monkeypatch.setattr(auto, "_FOREST", {"n_estimators": 3, "min_samples_leaf": 2})


def squared_error(y_true: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda predicted: float(np.mean((predicted - y_true) ** 2))


def test_errors_that_cancel_each_other_give_an_average() -> None:
    y_true, error = np.zeros(4), np.array([1.0, -1.0, 2.0, -2.0])

    weights = auto.weigh([error, 3 + error, -error], squared_error(y_true))

    assert weights == [0.5, 0.0, 0.5]


def test_an_average_that_is_hardly_better_is_not_worth_its_size() -> None:
    y_true, error = np.zeros(3), np.array([1.0, 1.0, 1.0])

    weights = auto.weigh([error, np.array([1.0, 1.0, 0.99])], squared_error(y_true))

    assert weights == [0.0, 1.0]


@pytest.mark.usefixtures("few_rounds")
@pytest.mark.parametrize("target", ["classes", "numbers"])
def test_the_choice_and_its_bytes_do_not_depend_on_cores(table: pd.DataFrame, params: Make, target: str) -> None:
    if target == "numbers":
        table["y"] = table["le"] + table["1.x"] / 3
    wanted = params(model="auto", random_state=1)
    train, _, schema = prepare.prepare(table, wanted)
    cores = os.sched_getaffinity(0)

    def fit() -> tuple[list[Candidate], str]:
        found = auto.choose(train, schema.contract, RANDOM, wanted)
        return found, joblib.hash(fitting.fit(train, schema.contract, apply_choice(wanted, found)))

    first = fit()
    try:
        os.sched_setaffinity(0, {min(cores)})
        second = fit()
    finally:
        os.sched_setaffinity(0, cores)

    assert first == second
    assert sum(each.weight for each in first[0]) == pytest.approx(1)
    assert [each.score for each in first[0]] == sorted((each.score for each in first[0]), reverse=True)


@pytest.mark.usefixtures("few_rounds")
def test_candidates_keep_to_what_params_ask_for_and_ignore_other_hyperparameters(
    table: pd.DataFrame, params: Make
) -> None:
    wanted = params(model="auto", monotone={"le": 1}, max_depth=1, class_weight="balanced", l2_penalty=5.0)
    train, _, schema = prepare.prepare(table, wanted)

    found = auto.choose(train, schema.contract, RANDOM, wanted)
    alone = [each.model_copy(update={"weight": float(each is found[0])}) for each in found]
    chosen = apply_choice(wanted, alone)

    assert "logistic_regression" not in {each.settings["model"] for each in found}
    assert (chosen.max_depth, chosen.class_weight, chosen.monotone) == ("auto", "balanced", {"le": 1})


def test_too_few_rows_for_folds_are_an_error_in_one_line(table: pd.DataFrame, params: Make) -> None:
    wanted = params(model="auto")
    schema = prepare.prepare(table, wanted)[2]
    rows = table.drop_duplicates("y")

    with pytest.raises(UserError, match="model: auto chooses by cross-validation, and the 2 training rows"):
        auto.choose(rows, schema.contract, RANDOM, wanted)


def test_a_search_of_auto_is_refused(params: Make) -> None:
    with pytest.raises(UserError, match="model: auto chooses by itself"):
        space_of(params(model="auto"), 100)
