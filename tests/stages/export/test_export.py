"""The ONNX file answers as scikit-learn does, on every row, or there is none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.pipeline import Pipeline

import service.model
from service.contract import SCORE_BINS_KEY, Contract, NumberFeature, ScoreBins
from stages.errors import UserError
from stages.export import __main__ as export
from stages.export import ensembles, parity
from stages.params.params import Params
from stages.partitions.served import Scores
from stages.partitions.served import score as score_rows
from stages.prepare import __main__ as prepare
from stages.train import __main__ as train

Make = Callable[..., Params]
BOOSTERS = ["lightgbm", "xgboost", "catboost"]
TREES = ["random_forest", "extra_trees", "gradient_boosting", "hist_gradient_boosting", *BOOSTERS]
TARGETS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "binary": lambda table: table["y"],
    "boolean": lambda table: table["flag"],
    "multiclass": lambda table: table["1.x"].fillna(0).astype(int),
    "regression": lambda table: table["huge"].rank() - 50,
    "many zeros": lambda table: (table["huge"].rank() - 100).clip(lower=0),
    "prices": lambda table: table["skewed"].rank() ** 3 * 100,
    "far from zero": lambda table: 1e9 + table["huge"].rank(),
    "tiny": lambda table: table["huge"].rank() * 1e-12 - 1e-10,
}
LINEAR = {"binary": "logistic_regression", "multiclass": "logistic_regression", "regression": "ridge"}
CASES = [
    *((target, model) for target in LINEAR for model in [*TREES, LINEAR[target], "dummy"]),
    ("boolean", "random_forest"),
    *(
        (target, model)
        for target in list(TARGETS)[4:]
        for model in ("extra_trees", "hist_gradient_boosting", *BOOSTERS, "ridge")
    ),
]
Fitted = tuple[Pipeline, service.model.Model, pd.DataFrame]


@pytest.fixture
def fitted(params: Make, tmp_path: Path) -> Callable[..., Fitted]:
    """Return a function that fits and exports a table: pipeline, served model, test rows."""

    def fit(table: pd.DataFrame, **changes: object) -> Fitted:
        wanted = params(**changes)
        rows, test, schema = prepare.prepare(table, wanted)
        pipeline = train.train(rows, schema.contract, wanted)
        (tmp_path / "m.onnx").write_bytes(export.export(pipeline, schema.contract))
        return pipeline, service.model.load(tmp_path / "m.onnx"), test

    return fit


def worst(pipeline: Pipeline, served: service.model.Model, rows: pd.DataFrame) -> float:
    return parity.compare(pipeline, served, rows, score_rows(served, rows))[0]


@pytest.mark.parametrize(("target", "model"), CASES)
def test_the_exported_file_agrees_with_scikit_learn(
    hard_table: pd.DataFrame, fitted: Callable[..., Fitted], target: str, model: str
) -> None:
    hard_table["y"] = TARGETS[target](hard_table)
    hard_table = hard_table.dropna(subset=["y"])

    assert worst(*fitted(hard_table, model=model)) < 1e-6


@pytest.mark.parametrize("model", [*TREES, "logistic_regression"])
def test_a_row_without_any_value_is_answered_alike(
    hard_table: pd.DataFrame, fitted: Callable[..., Fitted], model: str
) -> None:
    pipeline, served, test = fitted(hard_table, model=model)
    empty = test.reindex([-1]).assign(rare="never seen")

    assert worst(pipeline, served, empty) < 1e-6


def test_a_single_leaf_is_a_tree(table: pd.DataFrame, fitted: Callable[..., Fitted]) -> None:
    for model in TREES:
        pipeline, served, test = fitted(table, model=model, min_samples_leaf=1000)
        assert worst(pipeline, served, test) < 1e-6


@pytest.mark.parametrize(("rows", "expected"), [(40, True), (200, False)])
def test_a_model_of_too_few_rows_has_learnt_nothing(
    table: pd.DataFrame, fitted: Callable[..., Fitted], rows: int, expected: bool
) -> None:
    _, served, test = fitted(table.head(rows), model="lightgbm")

    assert export.has_learnt_nothing(score_rows(served, test)) == expected


def test_an_export_is_the_same_bytes_twice(table: pd.DataFrame, params: Make) -> None:
    rows, _, schema = prepare.prepare(table, params())
    pipeline = train.train(rows, schema.contract, params())

    assert export.export(pipeline, schema.contract) == export.export(pipeline, schema.contract)


def test_classes_in_another_order_are_refused(table: pd.DataFrame, params: Make) -> None:
    rows, _, schema = prepare.prepare(table, params())
    pipeline = train.train(rows, schema.contract, params())
    turned = schema.contract.model_copy(update={"classes": schema.contract.classes[::-1]})

    with pytest.raises(ValueError, match="the model has the classes"):
        export.export(pipeline, turned)


def test_one_row_is_answered_as_in_a_batch_to_the_last_digit(
    table: pd.DataFrame, fitted: Callable[..., Fitted]
) -> None:
    _, served, test = fitted(table)
    matrix = served.contract.encode(test)

    alone = np.vstack([served.scores(matrix[row : row + 1]) for row in range(len(test))])

    np.testing.assert_array_equal(alone, served.scores(matrix))


def test_pieces_are_scored_like_the_complete_table(
    table: pd.DataFrame, fitted: Callable[..., Fitted], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, served, test = fitted(table)
    whole = score_rows(served, test)
    monkeypatch.setattr("stages.partitions.served.ROWS_AT_ONCE", 7)

    np.testing.assert_array_equal(score_rows(served, test), whole)


@pytest.mark.parametrize("target", ["binary", "regression"])
def test_a_score_that_differs_is_reported_with_its_row_and_both_answers(
    hard_table: pd.DataFrame, fitted: Callable[..., Fitted], target: str
) -> None:
    hard_table["y"] = TARGETS[target](hard_table)
    pipeline, served, test = fitted(hard_table.dropna(subset=["y"]))
    scores = score_rows(served, test)
    scores[3] = scores[3] * (1 + 2e-5)

    with pytest.raises(UserError, match=r"test.parquet: row 4: ONNX gives \[?[-\d.]+.*, scikit-learn \[?[-\d.]+"):
        parity.compare(pipeline, served, test, scores)


def test_a_score_that_is_no_number_is_refused(table: pd.DataFrame, fitted: Callable[..., Fitted]) -> None:
    pipeline, served, test = fitted(table)
    scores = score_rows(served, test)
    scores[5] = np.nan

    with pytest.raises(UserError, match=r"row 6: ONNX gives \[nan, nan\]"):
        parity.compare(pipeline, served, test, scores)


def test_equally_probable_classes_are_counted_and_either_label_is_right(
    table: pd.DataFrame, fitted: Callable[..., Fitted]
) -> None:
    pairs = table.head(100).loc[lambda rows: rows.index.repeat(2)].reset_index(drop=True)  # equal rows stay together
    pairs["y"] = [0, 1] * 100
    pipeline, served, test = fitted(pairs, model="dummy")
    scores = score_rows(served, test)

    _, ties = parity.compare(pipeline, served, test, np.nextafter(scores, np.array([[0, 1]], np.float32)))

    assert ties == len(test)


def test_a_label_that_differs_is_refused(table: pd.DataFrame, fitted: Callable[..., Fitted]) -> None:
    table["y"] = [0, 1] * 100
    pipeline, served, test = fitted(table, model="dummy")
    pipeline["estimator"].class_prior_ = np.array([0.500002, 0.499998])

    with pytest.raises(UserError, match="row 1: ONNX gives 1, scikit-learn 0"):
        parity.compare(pipeline, served, test, np.full((len(test), 2), [0.499999, 0.500001], np.float32))


def test_ensembles_beyond_what_a_file_holds_are_refused_with_the_remedy(
    table: pd.DataFrame, fitted: Callable[..., Fitted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ensembles, "_FILE_LIMIT", 1000)

    with pytest.raises(UserError, match=r"nodes in 10 trees, .* lower n_estimators or max_depth"):
        fitted(table)


def test_no_file_is_larger_than_was_estimated(
    table: pd.DataFrame, params: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, _, schema = prepare.prepare(table, params())
    pipeline = train.train(rows, schema.contract, params(n_estimators=200))
    size = len(export.export(pipeline, schema.contract))
    monkeypatch.setattr(ensembles, "_FILE_LIMIT", size * 0.9)

    with pytest.raises(UserError, match="a file holds 2 GB"):
        export.export(pipeline, schema.contract)


CONTRACT = Contract(
    task="regression",
    target="y",
    classes=(),
    features=(NumberFeature(name="x", nullable=False, minimum=0, maximum=1, bin_edges=(), bin_shares=(1, 0)),),
)


@given(arrays.arrays(np.float32, st.integers(1, 200), elements=st.floats(-1e6, 1e6, width=32)))
def test_score_bins_hold_all_rows(scores: Scores) -> None:
    bins = export.score_bins(CONTRACT, scores, scores[:1])

    assert sum(bins.shares) == pytest.approx(1)
    assert len(bins.shares) == len(bins.edges) + 1
    assert list(bins.edges) == sorted(set(bins.edges))
    assert all(np.float32(edge) == edge for edge in bins.edges)


def test_scores_that_all_differ_fill_ten_equal_bins() -> None:
    scores = np.arange(1000, dtype=np.float32)

    bins = export.score_bins(CONTRACT, scores, scores[:200])

    assert bins.shares == (0.1,) * 10
    assert bins.training_shares == (0.5, 0.5, *(0.0,) * 8)


def test_scores_that_are_all_the_same_are_one_bin() -> None:
    bins = export.score_bins(CONTRACT, *[np.full(30, 0.7, dtype=np.float32)] * 2)

    assert (bins.edges, bins.shares) == ((), (1.0,))


@pytest.mark.parametrize(
    ("task", "expected"), [("binary", [0.25, 0.5]), ("multiclass", [0.75, 0.5])], ids=["positive", "predicted"]
)
def test_a_score_is_the_probability_of_the_positive_or_the_predicted_class(task: str, expected: list[float]) -> None:
    labels = {"classes": ("a", "b"), "positive": "a", "task": task}
    contract = CONTRACT.model_copy(update=labels)

    bins = export.score_bins(contract, *[np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)] * 2)

    assert bins.edges == (min(expected),)


def test_bins_go_into_the_file_and_change_nothing_else(table: pd.DataFrame, fitted: Callable[..., Fitted]) -> None:
    pipeline, served, test = fitted(table)
    bins = export.score_bins(served.contract, scores := score_rows(served, test), scores)

    again = service.model.from_bytes(
        export.export(pipeline, served.contract, score_bins=bins.model_dump_json()), "b.onnx"
    )

    stored = again.session.get_modelmeta().custom_metadata_map[SCORE_BINS_KEY]
    assert ScoreBins.model_validate_json(stored) == bins
    assert again.contract == served.contract
    np.testing.assert_array_equal(score_rows(again, test), scores)
