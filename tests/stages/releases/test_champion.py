"""The difference of two models on the same rows, and what may be compared at all."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from service.contract import Contract, NumberFeature
from service.model import Model
from stages.errors import NotComparableError
from stages.releases.champion import Comparison, Earlier, compare
from stages.schema import Split

FEATURE = NumberFeature(name="a", nullable=False, minimum=0, maximum=1, bin_edges=(), bin_shares=(1.0, 0.0))
BINARY = Contract(task="binary", target="y", classes=("no", "yes"), positive="yes", features=(FEATURE,))
VALUES = Contract(task="regression", target="y", classes=(), features=(FEATURE,))
BY_ROW = Split(method="time", column="g", train_to="-1")
BY_GROUP = Split(method="group", column="g", test_size=0.5)


class Scorer(Model):
    """A model without a session: its scores are the first column, or 1 minus it."""

    def scores(self, matrix: Any) -> Any:
        column = matrix[:, 0] if self.version == "straight" else 1 - matrix[:, 0]
        return column if self.contract.task == "regression" else np.stack([1 - column, column], axis=1)


def scorer(contract: Contract, version: str = "straight") -> Model:
    return Scorer(contract, version, session=None)


def compared(candidate: Model, champion: Model, rows: pd.DataFrame, split: Split = BY_ROW) -> Comparison:
    return compare(candidate, split, Earlier("1", champion, split), rows, seed=3)


def rows(seed: int = 0) -> pd.DataFrame:
    """Return 200 rows."""
    a = np.random.default_rng(seed).random(200)
    return pd.DataFrame({"a": a, "y": np.where(a > 0.5, "yes", "no"), "g": np.arange(200)})


def test_rows_of_one_class_compare_nothing() -> None:
    with pytest.raises(NotComparableError, match="these rows give no roc_auc"):
        compared(scorer(BINARY), scorer(BINARY), rows().assign(y="yes"))


def test_numbers_are_compared_by_r2() -> None:
    numbers = rows().assign(y=lambda table: table["a"] + 0.1)
    found = compared(scorer(VALUES), scorer(VALUES, "turned"), numbers)

    assert found.candidate == pytest.approx(metrics.r2_score(numbers["y"], numbers["a"]))
    assert found.champion == pytest.approx(metrics.r2_score(numbers["y"], 1 - numbers["a"]))


def test_the_interval_holds_the_difference_and_is_reproducible() -> None:
    noisy = rows()
    noisy["y"] = np.where(np.random.default_rng(1).random(200) < 0.3, "no", noisy["y"])
    found, again = (compared(scorer(BINARY), scorer(BINARY, "turned"), noisy) for _ in range(2))
    same = compared(scorer(BINARY), scorer(BINARY), noisy)

    assert found.low < found.difference < found.high
    assert found == again
    assert (same.difference, same.low, same.high) == (0, 0, 0)


def test_classes_in_another_order_are_the_same_classes() -> None:
    turned = BINARY.model_copy(update={"classes": ("yes", "no")})

    assert compared(scorer(BINARY), scorer(turned, "turned"), rows()).difference == 0


@pytest.mark.parametrize(
    ("champion", "reason"),
    [
        (BINARY.model_copy(update={"target": "z"}), "it predicts 'z', this model 'y'"),
        (BINARY.model_copy(update={"classes": ("no", "maybe")}), "it has other classes: no, maybe"),
        (VALUES, "it has other classes: none"),
        (BINARY.model_copy(update={"features": (FEATURE.model_copy(update={"name": "x"}),)}), "no column 'x'"),
        (
            BINARY.model_copy(update={"features": (FEATURE.model_copy(update={"name": "b"}),)}),
            "it cannot read the test",
        ),
    ],
)
def test_a_champion_of_another_kind_is_not_compared(champion: Contract, reason: str) -> None:
    with pytest.raises(NotComparableError, match=reason):
        compared(scorer(BINARY), scorer(champion), rows().assign(b="word"))


@pytest.mark.parametrize(("groups", "has"), [(40, True), (10, False)])
def test_the_interval_counts_the_groups_of_the_split(groups: int, has: bool) -> None:
    table = pd.concat([rows(seed) for seed in range(10)], ignore_index=True)
    by_group = table.assign(g=np.arange(len(table)) % groups)
    noise = np.random.default_rng(1).normal(size=groups)[by_group["g"]]
    by_group["y"] = np.where(table["a"] + noise > 0.5, "yes", "no")
    found = compared(scorer(BINARY), scorer(BINARY, "turned"), by_group, BY_GROUP)
    by_row = compared(scorer(BINARY), scorer(BINARY, "turned"), by_group.assign(g=np.arange(len(table))), BY_GROUP)

    assert (found.low < found.difference < found.high) is has
    assert ("too few independent units for an interval" in found.describe("1")) is not has
    assert not has or found.high - found.low != pytest.approx(by_row.high - by_row.low, rel=0.02)
