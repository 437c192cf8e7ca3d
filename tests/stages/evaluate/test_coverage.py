"""The coverage of the test rows is counted as the service answers, with an interval, over time and by class."""

import numpy as np
import pandas as pd
import pytest

from service.coverage import Coverage
from service.model import Model
from stages.evaluate import coverage
from stages.schema import Split
from stages.scores.metrics import Classified, Predicted
from stages.scores.units import Units
from tests.service.artifacts import contract

RANDOM = Split(method="random", column=None)
ROWS = Units("row", np.arange(200))
ABOUT = Coverage(levels=(0.5, 0.9), rows=9, units=9, ranks=tuple(range(1, 10)), errors=tuple(np.arange(1, 10) / 10))


def served(about: Coverage | None = ABOUT, **changes: object) -> Model:
    return Model(contract(**changes), "0" * 32, None, coverage=about)  # type: ignore[arg-type]  # no session needed


def values() -> Predicted:
    y_true = np.arange(200) % 20 / 10.0
    return Predicted(y_true, np.zeros(200))


def test_an_interval_counts_if_the_value_is_in_it() -> None:
    model, scored = served(classes=(), task="regression", positive=None), values()
    levels = coverage.apply_levels(model, scored.y_pred, scored)
    metrics, table = coverage.describe_coverage(levels, coverage.find_parts(scored, RANDOM, pd.DataFrame()), ROWS, 0)
    assert metrics["coverage_50"] == 0.3
    assert metrics["coverage_90"] == 0.5
    assert metrics["interval_width_90"] == pytest.approx(1.8)
    assert metrics["coverage_90_low"] < 0.5 < metrics["coverage_90_high"]
    assert table["part"].tolist() == [coverage.ALL, "from 0"] * 2


def test_a_set_counts_if_it_has_the_true_class_and_none_has_a_class_that_training_had_not() -> None:
    probabilities = np.tile(np.array([[0.6, 0.4], [0.05, 0.95]], np.float32), (100, 1))
    padded = np.pad(probabilities.astype(float), ((0, 0), (0, 1)))
    y_true = np.tile([0, 0, 1, 1, 2], 40)
    scored = Classified(("no", "yes", "new"), 1, y_true, padded, padded.argmax(axis=1))
    levels = coverage.apply_levels(served(), probabilities, scored)
    metrics, table = coverage.describe_coverage(levels, coverage.find_parts(scored, RANDOM, pd.DataFrame()), ROWS, 0)
    # Above 0.1 are both classes of the even rows, and yes of the odd ones.
    assert metrics["coverage_90"] == 0.6
    assert metrics["set_size_90"] == 1.5
    assert metrics["coverage_50"] == 0.4
    assert metrics["empty_sets_50"] == 0
    by_class = table[table["level"] == 0.9].set_index("part")["coverage"]
    assert by_class[["no", "yes", "new"]].tolist() == [0.5, 1.0, 0.0]


def test_a_split_by_time_shows_each_month() -> None:
    scored = values()
    rows = pd.DataFrame({"t": pd.date_range("2020-01-01", periods=200, freq="D")})
    parts = coverage.find_parts(scored, Split(method="time", column="t"), rows)
    assert [part.name for part in parts if part.by == "time"] == [f"2020-0{month}" for month in range(1, 8)]
    assert sum(part.here.sum() for part in parts if part.by == "time") == 200


def test_a_level_that_is_too_high_is_left_out_and_one_sentence_says_so(params: object) -> None:
    scored = values()
    few = ABOUT.model_copy(update={"levels": (0.5, 0.95)})
    model = served(few, classes=(), task="regression", positive=None)
    levels = coverage.apply_levels(model, scored.y_pred, scored)
    assert [each.level for each in levels] == [0.5]
    wanted = params(evaluate={"threshold": 0.5, "coverage": [0.5, 0.95]})  # type: ignore[operator]
    lines = list(coverage.describe_levels({"coverage_50": 0.3}, model, wanted, RANDOM))
    assert lines == [
        "intervals at 0.5 contain the truth in 0.300 of the test rows",
        "no coverage at 0.95: 9 units of training rows allow at most 0.9",
    ]


def test_a_model_without_errors_has_no_coverage() -> None:
    scored = values()
    assert coverage.apply_levels(served(None), scored.y_pred, scored) == []


@pytest.mark.parametrize("flag", [True, False])
def test_a_share_of_all_or_none_has_an_interval_too(flag: object) -> None:
    levels = [coverage.Tested(0.9, np.full(200, flag), np.ones(200), is_set=True)]
    metrics, _ = coverage.describe_coverage(levels, [], ROWS, 0)
    assert metrics["coverage_90_low"] == pytest.approx(0.025 ** (1 / 200) if flag else 0)
    assert metrics["coverage_90_high"] == pytest.approx(1 if flag else 1 - 0.025 ** (1 / 200))
