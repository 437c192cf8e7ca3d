"""The model card: what people have to know, drawn from the files, and names out of a table as plain text."""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import service.model
from stages.evaluate import __main__ as evaluate
from stages.evaluate import card as _card
from stages.evaluate.card import Facts
from stages.export import __main__ as export
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.scores.units import Units, units_of
from stages.train import __main__ as train

HOSTILE = "<script>alert(1)</script> | `x` [a](b)\n# c"
Make = Callable[..., Facts]


@pytest.fixture
def facts(params: Callable[..., Params]) -> Make:
    """Return a function from a table to the content of its card."""

    def gather(table: pd.DataFrame, **changes: object) -> Facts:
        wanted = params(**({"model": "logistic_regression", "evaluate": {"threshold": 0.5, "folds": 0}} | changes))
        rows, test, schema = prepare.prepare(table, wanted)
        content = export.export(train.train(rows, schema.contract, wanted), schema.contract)
        units = units_of(schema.split, test)
        scores, decided = evaluate.cross_validate(rows, schema, wanted, train.predict_out_of_fold(rows, schema, wanted))
        found, tables = evaluate.evaluate(service.model.from_bytes(content, "m"), rows["y"], test, decided, units)
        about = schema, wanted, found | scores, tables.slices, tables.importance, rows["y"], test["y"]
        return Facts(*about, units, tables.groups, tables.correlation)

    return gather


def section(card: str, name: str) -> str:
    return card.split(f"\n## {name}\n")[1].split("\n## ", maxsplit=1)[0]


def test_it_says_what_it_was_trained_on(table: pd.DataFrame, facts: Make) -> None:
    known = facts(table)
    text = section(_card.card(known), "What it was trained on")
    rows = f"{known.schema.rows.train} to train, {known.schema.rows.test} to test"
    for fact in ("`table.csv`, 200 rows", rows, "Split: random", "y (binary)", "| да", "| нет"):
        assert fact in text


def test_it_says_how_well_it_does_beside_no_model(table: pd.DataFrame, facts: Make) -> None:
    given_facts = facts(table)
    found = given_facts.metrics
    text = section(_card.card(given_facts), "How well it does")
    bounds = f"[{found['roc_auc_low']:.4g}, {found['roc_auc_high']:.4g}]"
    assert f"| roc_auc | {found['roc_auc']:.4g} | {bounds} | 0.5 |" in text
    assert "above a probability of 0.5" in text


def test_it_says_how_many_of_the_positive_class_are_found_at_what_price(table: pd.DataFrame, facts: Make) -> None:
    known = facts(table, evaluate={"threshold": "auto", "folds": 3})
    text = section(_card.card(known), "How well it does")
    recall, precision = (f"{100 * known.metrics[name]:.0f} [" for name in ("recall", "precision"))
    assert f"Of 100 test rows that are {known.schema.contract.positive} the model finds {recall}" in text
    assert f"Of 100 test rows that it calls {known.schema.contract.positive}, {precision}" in text
    assert f"{1 / known.metrics['precision'] - 1:.1f} false alarms for each one found" in text
    assert "best balanced accuracy on out-of-fold predictions of training rows" in text
    assert "Compare models by cv_roc_auc" in text


def test_it_says_that_the_threshold_goes_by_costs(table: pd.DataFrame, facts: Make) -> None:
    costs = {"false_positive": 1.0, "false_negative": 5.0}
    card = _card.card(facts(table, evaluate={"threshold": "auto", "costs": costs, "folds": 3}))
    assert "costs least, at 1 for a false alarm and 5 for a miss, on out-of-fold predictions" in card


def test_it_names_weights_and_constraints(table: pd.DataFrame, facts: Make) -> None:
    wanted = {"model": "hist_gradient_boosting", "monotone": {"le": 1}, "data": {"weight": "w"}}
    card = _card.card(facts(table.assign(w=np.arange(200) + 1), **wanted))
    assert "- Weights: w says how much each row counts in the fit" in section(card, "What it was trained on")
    assert "| `monotone.le` | 1 |" in section(card, "Parameters")


def test_it_says_what_decisions_cost_beside_the_same_one_for_every_row(table: pd.DataFrame, facts: Make) -> None:
    costs = {"false_positive": 1.0, "false_negative": 5.0, "currency": "<EUR>"}
    known = facts(table, evaluate={"threshold": "auto", "costs": costs, "folds": 3})
    text = section(_card.card(known), "How well it does")
    found, positive = known.metrics, known.schema.contract.positive
    assert "| decision | cost of 1,000 test rows in &lt;EUR&gt; | interval |" in text
    for name, decision in (("", "by the model"), ("_never", f"never {positive}"), ("_always", f"always {positive}")):
        bounds = f"[{found[f'cost_per_1000{name}_low']:.4g}, {found[f'cost_per_1000{name}_high']:.4g}]"
        assert f"| {decision} | {found[f'cost_per_1000{name}']:.4g} | {bounds} |" in text
    assert f"the model saves {found['saving_per_1000']:.4g} &lt;EUR&gt; for 1,000 rows (interval of" in text


def test_it_says_what_a_matrix_of_costs_decides(table: pd.DataFrame, facts: Make) -> None:
    table["y"] = table["1.x"].map({0: "a", 1: "a", 2: "b", 3: "b", 4: "c"})
    costs = {"matrix": {"*": {"*": 1.0}, "c": {"*": 9.0}}}
    text = section(
        _card.card(facts(table, evaluate={"threshold": "auto", "costs": costs, "folds": 3})), "How well it does"
    )
    assert "predicts the class with the least expected cost (`evaluate.costs`)" in text
    assert "| always the class that is cheapest on the training rows |" in text


def test_it_says_how_far_probabilities_are_from_frequencies_before_and_after(table: pd.DataFrame, facts: Make) -> None:
    known = facts(table, calibration="isotonic")
    found = known.metrics
    assert f"by {found['expected_calibration_error']:.4g} on average" in _card.card(known)
    before = {f"uncalibrated_{name}": 0.25 for name in ("expected_calibration_error", "log_loss", "brier_score")}
    text = section(_card.card(replace(known, metrics=found | before)), "How well it does")
    assert (
        f"Before `calibration: isotonic` it was 0.25, and the log loss 0.25 instead of {found['log_loss']:.4g}" in text
    )
    assert "have equal probabilities" in text
    assert ("makes the probabilities worse" in text) == (found["log_loss"] > 0.25)


def test_it_says_what_the_intervals_count(table: pd.DataFrame, facts: Make) -> None:
    known = facts(table)
    assert f"over {len(known.test_target)} independent rows." in _card.card(known)
    rows = table.assign(g=np.arange(200) // 2)
    split = {"method": "group", "test_size": 0.3, "time_column": None, "group_column": "g"}
    known = facts(rows, split=split)
    assert f"over {known.schema.rows.test // 2} independent groups." in _card.card(known)


def test_it_says_that_few_groups_allow_no_interval(table: pd.DataFrame, facts: Make) -> None:
    split = {"method": "group", "test_size": 0.3, "time_column": None, "group_column": "g"}
    known = facts(table.assign(g=np.arange(200) // 20), split=split)
    why = f"the test rows hold {known.schema.rows.test // 20} independent groups; an interval needs 20"
    assert f"There are no intervals: {why}." in _card.card(known)
    assert not [name for name in known.metrics if name.endswith(("_low", "_high"))]


def test_it_says_that_the_intervals_ignore_the_correlation_of_days(table: pd.DataFrame, facts: Make) -> None:
    known = replace(facts(table), units=Units("day", np.arange(60)), correlation=0.6)
    assert "Neighbouring days are correlated (0.60)" in _card.card(known)
    assert "about 2.0 times as wide" in _card.card(known)


def test_it_names_where_it_does_badly(facts: Make) -> None:
    rng = np.random.default_rng(0)
    a, group = rng.normal(size=600), rng.choice([*"xyz"], 600)
    noise = np.where(group == "x", rng.normal(size=600) * 30, 0)
    card = _card.card(facts(pd.DataFrame({"a": a, "g": group, "y": a * 5 + noise}), model="ridge"))
    assert re.search(r"^\| g \| x \|", section(card, "Where it does badly"), re.MULTILINE)


def test_it_says_so_if_no_slice_is_worse(table: pd.DataFrame, facts: Make) -> None:
    assert "significantly worse than that of all test rows" in section(_card.card(facts(table)), "Where it does badly")


def test_it_warns_of_few_rows_missing_values_and_columns_that_it_does_not_use(table: pd.DataFrame, facts: Make) -> None:
    known = facts(table)
    text = section(_card.card(known), "What it must not be used for")
    assert f"{known.schema.rows.test} test rows the intervals are wide" in text
    assert "missing values in columns other than these" in text
    assert "constant (" in text


def test_it_warns_of_a_model_that_is_no_better_than_none(table: pd.DataFrame, facts: Make) -> None:
    text = section(_card.card(facts(table, model="dummy")), "What it must not be used for")
    assert "roc\\_auc" in text or "roc_auc" in text
    assert "not significantly better than without a model" in text


def test_it_warns_of_a_rare_class_and_of_classes_that_training_did_not_know(table: pd.DataFrame, facts: Make) -> None:
    table["y"] = np.where(np.arange(200) % 20 == 0, "rare", "usual")
    known = facts(table)
    strange = replace(known, test_target=known.test_target.map(lambda _: "<new>"))
    text = section(_card.card(strange), "What it must not be used for")
    assert re.search(r"Rare classes by accuracy alone: rare [1-9]\.[0-9] %", text)
    assert "Classes without a test row: rare, usual." in text
    assert "Classes that are not in the training rows: &lt;new&gt;." in text


def test_warnings_come_first_if_there_are_any(table: pd.DataFrame, facts: Make) -> None:
    known = facts(table)
    card = _card.card(replace(known, schema=known.schema.model_copy(update={"findings": ("a `b` | <c>",)})))
    none = _card.card(replace(known, schema=known.schema.model_copy(update={"findings": ()})))
    assert section(card, "What to look at first").strip() == r"- a \`b\` \| &lt;c&gt;."
    assert "What to look at first" not in none


def test_it_counts_rare_classes(table: pd.DataFrame, facts: Make) -> None:
    table.loc[:1, "y"] = "rare"
    text = section(_card.card(facts(table, data={"rare_classes": "drop"})), "What it was trained on")
    assert "1 rare class ('rare' 2 rows): 2 rows left out (`data.rare_classes: drop`)" in text


def test_the_card_of_a_split_by_time_says_the_moments(table: pd.DataFrame, facts: Make) -> None:
    split = {"method": "time", "test_size": 0.3, "time_column": "row", "group_column": None}
    card = _card.card(facts(table, split=split))
    assert "by time (row): trained on 0 to 139, tested on 140 to 199; 30.0 % are test rows" in card
    assert "rows later than 139, " in card


def test_equal_facts_give_equal_cards_and_no_path(table: pd.DataFrame, facts: Make) -> None:
    first, second = (_card.card(facts(table, data={"path": "/home/someone/table.csv"})) for _ in range(2))
    assert first == second
    assert "/home/" not in first


def test_hostile_names_of_columns_classes_and_values_stay_text(table: pd.DataFrame, facts: Make) -> None:
    table = table.rename(columns={"le": HOSTILE}).assign(y=np.where(table["le"] > 0, HOSTILE, "no"))
    card = _card.card(facts(table))
    assert "<" not in card
    assert [line for line in card.splitlines() if line.startswith("# ")] == ["# Model card: y"]
    assert len(set(re.findall(r"^## .*$", card, re.MULTILINE))) == 8
    assert r"\[a\](b)" in card


@given(st.text())
def test_no_name_breaks_out_of_its_cell_or_makes_html(name: str) -> None:
    shown = _card.escaped(name)
    assert len(shown.splitlines()) == 1
    assert not set(shown) & {"<", ">"}
    assert not re.search(r"(?<!\\)(\\\\)*[|`*_\[\]]", re.sub(r"\\[^\\]", "", shown.replace("\\\\", "")))


def test_a_long_name_is_cut() -> None:
    assert len(_card.escaped("x" * 10_000)) < 100


@pytest.mark.parametrize(("name", "shown"), [("0.1", "0.1"), ("1. a", r"1\. a"), ("- a", r"\- a"), ("", "(empty)")])
def test_what_would_begin_a_list_is_escaped_and_a_number_is_not(name: str, shown: str) -> None:
    assert _card.escaped(name) == shown


def test_of_the_groups_of_hyperparameters_only_the_models_own_is_shown(table: pd.DataFrame, facts: Make) -> None:
    texts = [_card.card(facts(table, model=model)) for model in ("lightgbm", "hist_gradient_boosting")]

    assert ["`lightgbm.num_leaves` | 31" in text for text in texts] == [True, False]
    assert not any("{'" in text for text in texts)
