"""The tables behind `dvc plots show`: the same files and columns for every task, small, and harmless in a page."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from sklearn.metrics import auc, confusion_matrix, precision_score, recall_score, roc_auc_score

from service.contract import Label
from stages.evaluate import plots
from stages.scores.metrics import Classified, Predicted

IMPORTANCE = pd.DataFrame({"feature": ["a", "b"], "importance": [0.5, 0.1]})
OF_CLASSES = {"confusion", "roc", "precision_recall", "calibration", "scores", "importance"}
OF_VALUES = {"calibration", "scores", "residuals", "predicted_actual", "importance"}


def classes(size: int, rows: int = 200, labels: tuple[Label, ...] | None = None, seed: int = 0) -> Classified:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(size), rows)
    truth = np.arange(rows) % size
    rng.shuffle(truth)
    names = labels or tuple(f"k{i}" for i in range(size))
    return Classified(names, 0 if size == 2 else None, truth, probabilities, probabilities.argmax(axis=1))


def values(rows: int = 200, scale: float = 1.0) -> Predicted:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=rows) * scale
    return Predicted(truth, truth + rng.normal(size=rows) * scale / 10)


OUTCOMES: dict[str, Classified | Predicted] = {
    "binary": classes(2),
    "multiclass": classes(4),
    "many classes": classes(60, 3000),
    "regression": values(),
    "six rows": classes(2, 6),
    "six values": values(6),
    "one class": Classified(("a", "b"), 0, np.zeros(6, int), np.full((6, 2), 0.5), np.zeros(6, int)),
    "perfect": Classified(("a", "b"), 0, np.arange(6) % 2, np.eye(2)[np.arange(6) % 2], np.arange(6) % 2),
    "unknown class": Classified((1, 2, 9), 0, np.arange(6) % 3, np.eye(3)[np.arange(6) % 2], np.arange(6) % 2),
    "constant": Predicted(np.ones(6), np.ones(6)),
    "huge": values(scale=1e37),
    "many rows": values(5000),
}


@pytest.mark.parametrize("case", OUTCOMES)
def test_every_file_is_there_with_its_columns_and_the_tasks_own_have_rows(case: str) -> None:
    outcome = OUTCOMES[case]
    drawn = plots.plots(outcome, IMPORTANCE)
    assert {name: list(table.columns) for name, table in drawn.items()} == plots.COLUMNS
    expected = OF_VALUES if isinstance(outcome, Predicted) else OF_CLASSES
    if case in ("binary", "six rows", "perfect", "unknown class"):
        expected = expected | {"thresholds", "lift"}
    if case == "one class":  # one class alone has no curves
        expected = expected - {"roc", "precision_recall", "calibration"}
    assert {name for name, table in drawn.items() if len(table)} == expected


@pytest.mark.parametrize("case", OUTCOMES)
def test_no_table_is_large_and_every_figure_is_finite(case: str) -> None:
    for table in plots.plots(OUTCOMES[case], IMPORTANCE).values():
        assert len(table) <= plots.MOST_POINTS
        assert np.isfinite(table.select_dtypes("number").to_numpy(float)).all()


def test_every_plot_of_dvc_yaml_has_its_file_and_names_its_columns(root: Path) -> None:
    declared = YAML(typ="safe", pure=True).load((root / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    for plot in declared:
        ((name, settings),) = plot.items()
        assert list(settings["y"]) == [f"metrics/plots/{name}.csv"]
        assert {settings["x"], *settings["y"].values()} <= set(plots.COLUMNS[name])
    assert {name for plot in declared for name in plot} == set(plots.COLUMNS)


@pytest.mark.parametrize("case", OUTCOMES)
def test_the_rows_of_a_curve_ascend_because_vega_joins_them_in_this_order(root: Path, case: str) -> None:
    declared = YAML(typ="safe", pure=True).load((root / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    curves = {name: each["x"] for plot in declared for name, each in plot.items() if each["template"] == "curve"}
    drawn = plots.plots(OUTCOMES[case], IMPORTANCE) | plots.plot_rounds(
        [(each, 1 / each, 1.0) for each in range(1, 12)]
    )

    for name, x in curves.items():
        assert all(curve[x].is_monotonic_increasing for _, curve in drawn[name].groupby("class")), name
    # DVC gives Vega text, of which 10 comes before 2.
    assert json.loads((root / ".dvc/plots/curve.json").read_text(encoding="utf-8"))["encoding"]["order"] is None


@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_the_roc_curve_encloses_scikit_learns_area(seed: int) -> None:
    outcome = classes(2, seed=seed)
    curve = plots.plots(outcome, IMPORTANCE)["roc"]
    expected = roc_auc_score(outcome.y_true == 0, outcome.probabilities[:, 0])
    assert auc(curve["fpr"], curve["tpr"]) == pytest.approx(expected, abs=1e-5)


def test_a_thinned_curve_keeps_its_ends_and_its_area() -> None:
    outcome = classes(2, 20_000)
    curve = plots.plots(outcome, IMPORTANCE)["roc"]
    assert curve.iloc[[0, -1]][["fpr", "tpr"]].to_numpy().tolist() == [[0, 0], [1, 1]]
    expected = roc_auc_score(outcome.y_true == 0, outcome.probabilities[:, 0])
    assert auc(curve["fpr"], curve["tpr"]) == pytest.approx(expected, abs=1e-3)


def test_the_confusion_counts_every_row_as_scikit_learn_does() -> None:
    outcome = classes(4)
    table = plots.plots(outcome, IMPORTANCE)["confusion"]
    square = table.pivot_table(index="actual", columns="predicted", values="rows").to_numpy()
    assert square.tolist() == confusion_matrix(outcome.y_true, outcome.y_pred).tolist()


def test_the_rarest_of_many_classes_are_one_row_of_the_confusion() -> None:
    table = plots.plots(OUTCOMES["many classes"], IMPORTANCE)["confusion"]
    assert table["actual"].nunique() == plots._MOST_CLASSES + 1
    assert table["rows"].sum() == 3000


def test_a_calibrated_model_lies_on_the_diagonal() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(50_000)
    truth = np.where(rng.random(50_000) < scores, 0, 1)
    outcome = Classified(("a", "b"), 0, truth, np.stack([scores, 1 - scores], axis=1), truth)
    table = plots.plots(outcome, IMPORTANCE)["calibration"]
    assert len(table) == 10
    assert table["actual"].to_numpy() == pytest.approx(table["predicted"].to_numpy(), abs=0.02)


@pytest.mark.parametrize("outcome", [classes(2), classes(3), values()])
def test_the_histograms_count_every_row(outcome: Classified | Predicted) -> None:
    sides = 2 if isinstance(outcome, Predicted) else 1
    assert plots.plots(outcome, IMPORTANCE)["scores"]["rows"].sum() == 200 * sides


def test_residuals_are_the_truth_minus_the_prediction() -> None:
    found = plots.plots(Predicted(np.array([3.0, 1.0]), np.array([1.0, 2.0])), IMPORTANCE)["residuals"]
    assert found["residual"].tolist() == [2.0, -1.0]


@settings(max_examples=10)
@given(st.text(min_size=1))
def test_no_name_can_end_the_script_that_dvc_writes_it_into(name: str) -> None:
    hostile = pd.DataFrame({"feature": [name], "importance": [1.0]})
    drawn = plots.plots(classes(2, 20, labels=(f"</script>{name}", "b")), hostile)
    text = "".join(table.to_csv() for table in drawn.values())
    assert not set(text) & {"<", ">", "\x00", "\x1b", "\u2028"}


def test_thresholds_have_scikit_learns_recall_and_precision() -> None:
    outcome = classes(2, 2_000)
    table = plots.plots(outcome, IMPORTANCE)["thresholds"].pivot_table(
        index="threshold", columns="class", values="share"
    )
    for threshold, row in table.dropna().iloc[::10].iterrows():
        called = outcome.probabilities[:, 0] > float(str(threshold))
        assert row["recall"] == pytest.approx(recall_score(outcome.y_true == 0, called), abs=1e-6)
        assert row["precision"] == pytest.approx(precision_score(outcome.y_true == 0, called), abs=1e-6)
        assert row["called positive"] == pytest.approx(called.mean(), abs=1e-6)


def test_costs_of_a_threshold_are_those_of_its_decisions() -> None:
    outcome, matrix = classes(2, 2_000), np.array([[0.5, 7.0], [2.0, 0.0]])
    table = plots.plots(outcome, IMPORTANCE, costs=matrix)["costs"].set_index("threshold")["cost"]
    for threshold in (0.0, 0.3, 1.0):
        predicted = np.where(outcome.probabilities[:, 0] > threshold, 0, 1)
        assert table[threshold] == pytest.approx(1000 * matrix[outcome.y_true, predicted].mean(), rel=1e-5)


def test_the_lift_is_how_much_more_frequent_positive_rows_are_among_the_highest_scores() -> None:
    outcome = classes(2, 1_000)
    table = plots.plots(outcome, IMPORTANCE)["lift"].set_index("share")["lift"]
    highest = np.argsort(-outcome.probabilities[:, 0], kind="stable")[:100]
    assert table[0.1] == pytest.approx((outcome.y_true[highest] == 0).mean() / (outcome.y_true == 0).mean(), rel=1e-5)
    assert table[1.0] == 1
