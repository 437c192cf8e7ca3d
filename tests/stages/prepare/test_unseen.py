"""Rows of our test that another model was not trained on: none of its training rows is ever among them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import service.model
from stages.errors import NotComparableError
from stages.export import __main__ as export
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.prepare.split import unseen_rows
from stages.releases.champion import Earlier, compare
from stages.schema import Schema, Split
from stages.train import __main__ as train

Make = Callable[..., Params]
ROWS = 1_500
SPLITS: dict[str, dict[str, Any]] = {
    "content": {"method": "random"},
    "more content": {"method": "random", "test_size": 0.4},
    "key": {"method": "random", "key": "customer_id"},
    "group": {"method": "group", "group_column": "team"},
    "time": {"method": "time", "time_column": "when"},
    "earlier": {"method": "time", "time_column": "when", "test_size": 0.4},
    "round": {"method": "time", "time_column": "round"},
}


def grown(rows: int, seed: int = 0) -> pd.DataFrame:
    """Return a table whose first rows are the same however many it has; `mark` tells its rows apart."""
    rng = np.random.default_rng(seed)
    mark, noise, team = rng.permutation(10_000), rng.normal(size=10_000), rng.integers(0, 80, 10_000)
    table = pd.DataFrame(
        {
            "customer_id": rng.permutation(10_000) + 16_777_217,
            "mark": mark / 2,
            "team": [f"t{each}" for each in team],
            "when": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(10_000), unit="h"),
            "round": np.arange(10_000) // 50,
            "a": rng.normal(size=10_000),
            "y": np.where(mark / 2_500 - 2 + noise > 0, "yes", "no"),
        }
    )
    return table.head(rows)


def split(name: str) -> dict[str, Any]:
    return {"test_size": 0.3, **SPLITS[name]}


def prepared(make: Make, table: pd.DataFrame, name: str, **data: Any) -> tuple[pd.DataFrame, pd.DataFrame, Schema]:
    return prepare.prepare(table, make(split=split(name), data=data))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *((name, name) for name in SPLITS),
        ("content", "more content"),
        ("content", "key"),
        ("key", "content"),
        ("content", "group"),
        ("content", "time"),
        ("time", "earlier"),
        ("round", "key"),
    ],
)
def test_no_unseen_row_was_trained_on(params: Make, before: str, after: str) -> None:
    trained, _, theirs = prepared(params, grown(1_000), before)
    _, rows, ours = prepared(params, grown(ROWS), after)

    unseen = unseen_rows(ours.split, theirs.split, rows)

    seen = rows["mark"].isin(trained["mark"])
    assert not seen[unseen].any()
    assert unseen.sum() >= 0.5 * (~seen).sum() * (0.3 if before != after else 1)
    if before == after:
        assert unseen.all()


def test_a_column_that_was_added_leaves_the_model_comparable(params: Make) -> None:
    trained, _, theirs = prepared(params, grown(1_000), "content")
    table = grown(ROWS).assign(new=np.random.default_rng(1).normal(size=ROWS))
    _, rows, ours = prepared(params, table, "content")

    unseen = unseen_rows(ours.split, theirs.split, rows)

    seen = rows["mark"].isin(trained["mark"])
    assert seen.any()
    assert unseen.any()
    assert not seen[unseen].any()


@pytest.mark.parametrize(
    ("before", "table", "data", "reason"),
    [
        ("content", grown(ROWS).drop(columns="a"), {}, "'a' is gone or of another type; name a column"),
        ("content", grown(ROWS).assign(a="x"), {}, "'a' is gone or of another type"),
        ("content", grown(ROWS), {"missing": ["?"]}, "the settings for reading its cells"),
        ("key", grown(ROWS).drop(columns="customer_id"), {}, "split by 'customer_id', and the test rows have no such"),
        (
            "key",
            grown(ROWS).assign(customer_id=grown(ROWS)["mark"] // 2 * 1e9),
            {},
            "which is rounded in the test rows",
        ),
        ("round", grown(ROWS).drop(columns="round"), {}, "the test rows have no column 'round'"),
    ],
)
def test_a_rule_that_our_rows_cannot_answer_is_not_comparable(
    params: Make, before: str, table: pd.DataFrame, data: dict[str, Any], reason: str
) -> None:
    _, _, theirs = prepared(params, grown(1_000), before)
    _, rows, ours = prepared(params, table, "content", **data)

    with pytest.raises(NotComparableError, match=reason):
        unseen_rows(ours.split, theirs.split, rows)


def test_a_run_that_does_not_say_its_rule_is_not_comparable(params: Make) -> None:
    _, rows, ours = prepared(params, grown(ROWS), "content")

    with pytest.raises(NotComparableError, match="does not say how its test rows were chosen"):
        unseen_rows(ours.split, Split(method="random", column=None), rows)


def test_a_model_that_saw_every_test_row_is_not_comparable(params: Make) -> None:
    _, _, theirs = prepared(params, grown(3_000), "time")
    _, rows, ours = prepared(params, grown(1_000), "time")

    with pytest.raises(NotComparableError, match="trained on every one of the test rows"):
        unseen_rows(ours.split, theirs.split, rows)


@pytest.mark.parametrize("name", ["content", "key", "group"])
def test_decisions_stay_fair_while_a_table_grows_five_times(params: Make, name: str) -> None:
    champion: tuple[service.model.Model, pd.DataFrame, Split] | None = None
    for rows in range(6_000, 9_001, 600):
        wanted = params(split=split(name), model="random_forest", n_estimators=40, max_depth=6)
        fitted, test, schema = prepare.prepare(grown(rows), wanted)
        content = export.export(train.train(fitted, schema.contract, wanted), schema.contract)
        model = service.model.from_bytes(content, str(rows))
        if champion:
            old, trained, rule = champion
            unseen = test[unseen_rows(schema.split, rule, test)]
            found = compare(model, schema.split, Earlier("before", old, rule), test, seed=0)
            assert not unseen["mark"].isin(trained["mark"]).any()
            assert len(unseen) == len(test)
            assert abs(found.difference) < 0.01
        champion = model, fitted, schema.split
