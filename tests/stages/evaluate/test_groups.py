"""Figures by group are Fairlearn's, with intervals over independent units."""

from collections.abc import Callable
from typing import Any

import fairlearn.metrics
import numpy as np
import pandas as pd
import pytest

from service.contract import Contract
from stages.errors import UserError
from stages.evaluate.groups import BETWEEN, COLUMNS, compute_groups, worst_differences
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.scores.metrics import Classified, Predicted
from stages.scores.units import Units

ROWS = 900
RATES = ["selection_rate", "true_positive_rate", "false_positive_rate"]
NAMES = {"demographic_parity": RATES[:1], "equal_opportunity": RATES[1:2], "equalized_odds": RATES[1:]}


@pytest.fixture
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"sex": rng.choice(["f", "m", "x"], ROWS, p=[0.5, 0.4, 0.1]), "age": rng.integers(18, 80, ROWS)}
    )


@pytest.fixture
def binary(rows: pd.DataFrame) -> Classified:
    rng = np.random.default_rng(1)
    scores = 1 / (1 + np.exp(-rng.normal(size=ROWS) - (rows["sex"] == "m")))
    y_true = (rng.random(ROWS) < scores).astype(np.intp)
    return Classified(("no", "yes"), 1, y_true, np.stack([1 - scores, scores], 1), (scores > 0.6).astype(np.intp))


@pytest.fixture
def contract() -> Contract:
    fields: dict[str, Any] = {"features": ()}
    return Contract.model_construct(**fields)


def single(count: int = ROWS) -> Units:
    return Units("row", np.arange(count))


def figures(table: pd.DataFrame, metric: str, column: str = "sex") -> dict[str, float]:
    found = table[(table["column"] == column) & (table["metric"] == metric)]
    return dict(zip(found["group"], found["value"], strict=True))


def test_each_group_has_fairlearns_figures(rows: pd.DataFrame, binary: Classified, contract: Contract) -> None:
    table = compute_groups(binary, contract, rows, ["sex"], single())
    of_fairlearn: dict[str, Any] = {name: getattr(fairlearn.metrics, name) for name in RATES}
    frame = fairlearn.metrics.MetricFrame(
        metrics=of_fairlearn, y_true=binary.y_true, y_pred=binary.y_pred, sensitive_features=rows["sex"]
    )

    assert list(table) == COLUMNS
    for name in RATES:
        assert figures(table, name) == pytest.approx(frame.by_group[name].to_dict(), rel=1e-5)


@pytest.mark.parametrize("kind", ["difference", "ratio"])
@pytest.mark.parametrize("name", NAMES)
def test_differences_and_ratios_are_fairlearns(
    rows: pd.DataFrame, binary: Classified, contract: Contract, name: str, kind: str
) -> None:
    table = compute_groups(binary, contract, rows, ["sex"], single())
    expected = getattr(fairlearn.metrics, f"{name}_{kind}")(
        binary.y_true, binary.y_pred, sensitive_features=rows["sex"]
    )

    assert figures(table, f"{name}_{kind}") == {BETWEEN: pytest.approx(expected, rel=1e-5)}


def test_more_classes_are_each_compared_with_the_rest(rows: pd.DataFrame, contract: Contract) -> None:
    rng = np.random.default_rng(2)
    probabilities = rng.dirichlet((1, 1, 1), ROWS)
    of = Classified(("a", "b", "c"), None, rng.integers(0, 3, ROWS), probabilities, probabilities.argmax(axis=1))
    table = compute_groups(of, contract, rows, ["sex"], single())
    parity = table[(table["group"] == BETWEEN) & (table["metric"] == "demographic_parity_difference")]

    for place, label in enumerate(of.labels):
        expected = fairlearn.metrics.demographic_parity_difference(
            of.y_true == place, of.y_pred == place, sensitive_features=rows["sex"]
        )
        assert parity[parity["class"] == label]["value"].item() == pytest.approx(expected, rel=1e-5)
    assert worst_differences(table)["demographic_parity_difference"] == parity["value"].max()
    assert set(figures(table, "accuracy_score")) == {"f", "m", "x"}


def test_regression_has_mean_errors(rows: pd.DataFrame, contract: Contract) -> None:
    rng = np.random.default_rng(3)
    y_true = rng.normal(size=ROWS)
    table = compute_groups(Predicted(y_true, y_true + (rows["sex"] == "f")), contract, rows, ["sex"], single())

    assert figures(table, "mean_error") == pytest.approx({"f": 1, "m": 0, "x": 0})
    assert worst_differences(table) == pytest.approx({"mean_error_difference": 1, "mean_absolute_error_difference": 1})


def test_calibration_is_the_mean_probability_minus_the_share(
    rows: pd.DataFrame, binary: Classified, contract: Contract
) -> None:
    table = compute_groups(binary, contract, rows, ["sex"], single())
    of_group = (rows["sex"] == "m").to_numpy()
    expected = binary.probabilities[of_group, 1].mean() - binary.y_true[of_group].mean()

    assert figures(table, "calibration_error")["m"] == pytest.approx(expected, rel=1e-5)


def test_intervals_hold_the_truth_as_often_as_they_say(contract: Contract) -> None:
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(200):
        units = Units("day", np.repeat(np.arange(60), 10))
        likely = np.clip(0.4 + rng.normal(scale=0.15, size=60), 0, 1)[units.codes]
        chosen = (rng.random(600) < likely).astype(np.intp)
        of = Classified(("no", "yes"), 1, chosen, np.full((600, 2), 0.5), chosen)
        table = compute_groups(of, contract, pd.DataFrame({"g": ["a"] * 600}), ["g"], units)
        line = table[table["metric"] == "selection_rate"].iloc[0]
        held += line["low"] <= 0.4 <= line["high"]

    assert 180 <= held <= 199


def test_a_group_of_few_units_has_no_interval_and_says_so(
    rows: pd.DataFrame, binary: Classified, contract: Contract
) -> None:
    rows.loc[:5, "sex"] = "few"
    table = compute_groups(binary, contract, rows, ["sex"], single())
    few = table[(table["group"] == "few") & (table["metric"] == "selection_rate")].iloc[0]

    assert few["rows"] == 6
    assert np.isnan(few["low"])
    assert "too few" in few["note"]


def test_a_group_without_positives_has_no_true_positive_rate(
    rows: pd.DataFrame, binary: Classified, contract: Contract
) -> None:
    binary.y_true[(rows["sex"] == "x").to_numpy()] = 0
    table = compute_groups(binary, contract, rows, ["sex"], single())

    assert set(figures(table, "true_positive_rate")) == {"f", "m"}
    assert {"f", "m", "x"} == set(figures(table, "false_positive_rate"))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("predicted", "expected"), [("none", np.nan), ("the truth", 1.0)])
def test_ratios_of_zeros_are_fairlearns(
    rows: pd.DataFrame, binary: Classified, contract: Contract, predicted: str, expected: float
) -> None:
    binary.y_pred[:] = 0 if predicted == "none" else binary.y_true
    name = "demographic_parity_ratio" if predicted == "none" else "equalized_odds_ratio"
    table = compute_groups(binary, contract, rows, ["sex"], single())
    fairlearns = getattr(fairlearn.metrics, name)(binary.y_true, binary.y_pred, sensitive_features=rows["sex"])

    assert figures(table, name)[BETWEEN] == pytest.approx(expected, nan_ok=True)
    assert fairlearns == pytest.approx(expected, nan_ok=True)


def test_numbers_with_many_values_are_cut_into_quarters(
    rows: pd.DataFrame, binary: Classified, contract: Contract
) -> None:
    table = compute_groups(binary, contract, rows, ["age"], single())
    counted = table[table["metric"] == "selection_rate"]

    assert len(counted) == 4
    assert counted["rows"].sum() == ROWS
    assert counted["group"].iloc[0].startswith("up to ")


def test_a_column_that_is_ignored_reaches_the_test_rows_but_is_no_feature(
    table: pd.DataFrame, params: Callable[..., Params]
) -> None:
    table["sex"] = np.where(np.arange(len(table)) % 3, "f", "m")
    plain = prepare.prepare(table.drop(columns="sex"), params())
    wanted = params(data={"ignore": ["sex"]}, evaluate={"threshold": 0.5, "groups": ["sex"]})
    train, test, schema = prepare.prepare(table, wanted)

    assert set(test["sex"]) == {"f", "m"}
    assert "sex" not in train
    assert "sex" not in [feature.name for feature in schema.contract.features]
    pd.testing.assert_frame_equal(test.drop(columns="sex"), plain[1])


def test_a_column_that_does_not_exist_is_named(table: pd.DataFrame, params: Callable[..., Params]) -> None:
    with pytest.raises(UserError, match=r"evaluate\.groups: no column 'sect'"):
        prepare.prepare(table, params(evaluate={"threshold": 0.5, "groups": ["sect"]}))
