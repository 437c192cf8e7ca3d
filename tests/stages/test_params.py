"""A mistake in params.yaml is one line with its key, its value and what is allowed; a model without a name gets one."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from stages.errors import UserError
from stages.params.loading import load_params
from stages.params.naming import model_name
from stages.params.sections import DataParams, RegisterParams

_YAML = YAML()
SETTINGS = """
model: hist_gradient_boosting
data: {path: data/table.csv, target: y, positive: null}
split: {method: time, time_column: day, group_column: null}
features: {cold: temp < 0, season: "sin(dayofyear(day), 365)"}
evaluate: {threshold: auto, costs: null}
register: {name: mine}
"""
# What params.yaml says otherwise, and a part of the message.
WRONG = [
    ("n_estimators: 0", "n_estimators: got 0; expected a whole number from 1 to 10000"),
    ("n_estimators: true", "n_estimators: got true; expected a whole number"),
    ("n_estimators: 10.5", "n_estimators: got 10.5; expected a whole number"),
    ("n_estimators: '10'", "n_estimators: got '10'; expected a whole number"),
    ("n_trees: 5", "n_trees: unknown key; allowed: model, n_estimators"),
    ("5: 6", "5: unknown key; allowed: model, n_estimators"),
    ("model: forest", "model: got 'forest'; expected random_forest, extra_trees"),
    ("max_depth: 0", "max_depth: got 0; expected a whole number from 1 to 64 or auto or null"),
    ("max_features: 2", "got 2; expected auto, sqrt, log2 or a number above 0 to 1 or null"),
    ("max_features: true", "max_features: got true; expected auto, sqrt, log2 or a number"),
    ("learning_rate: .nan", "learning_rate: got nan; expected a number above 0 to 1"),
    ("l2_penalty: .inf", "l2_penalty: got inf; expected a number from 1e-09 to 1000000000"),
    ("class_weight: auto", "class_weight: got 'auto'; expected balanced or null"),
    ("model: a.b:c-d", "dummy, auto or package.module:function"),
    ("lightgbm: {num_leaves: 1}", "lightgbm.num_leaves: got 1; expected a whole number from 2 to 131072"),
    ("lightgbm: {leaves: 31}", "lightgbm.leaves: unknown key; allowed under lightgbm: num_leaves, reg_alpha"),
    ("calibration: platt", "calibration: got 'platt'; expected sigmoid, isotonic, temperature or"),
    ("monotone: {distance: true}", "monotone: got {'distance': True}; expected for each feature 1"),
    ("monotone: {distance: 2}", "monotone: got {'distance': 2}; expected for each feature 1 (rising)"),
    ("data: {weight: y}", "data.weight: got 'y', which is data.target; name another column"),
    ("data: {weight: day}", "data.weight: got 'day', which split needs; name another column"),
    ("train: {sample: 5}", "train.sample: got 5; expected a whole number from 20 or null"),
    ("train: {sample: 0.1}", "train.sample: got 0.1; expected a whole number from 20 or null"),
    ("random_state: -1", "random_state: got -1; expected a whole number from 0 to 4294967295"),
    ("data: {ignore: month}", "data.ignore: got 'month'; expected a list, each text"),
    ("data: {ignore: [1]}", "data.ignore: got [1]; expected a list, each text (in quotes if it looks like"),
    ("data: {ignore: [y]}", "data.ignore: names the target 'y'; take it out of the list"),
    ("data: {ignore: [day]}", "data.ignore: names 'day', which split.time_column needs"),
    ("data: {strict: [y]}", "data.strict: names the target 'y'"),
    ("data: {missing: [1, NA]}", "data.missing: got [1, "),
    ("data: {delimiter: ',,'}", "data.delimiter: got ',,'; expected auto or one character"),
    ("data: {encoding: latin-99}", "data.encoding: got 'latin-99'; expected auto or an encoding that Python"),
    ("data: {decimal: ;}", "data.decimal: got ';'; expected auto, '.' or ','"),
    ("data: {dates: {sent: day}}", "data.dates: got {'sent': 'day'}; expected auto, an order such as dmY"),
    ("data: {positive: 1.5}", "data.positive: got 1.5; expected true or false or a whole number or text"),
    ("data: {treshold: 5}", "data.treshold: unknown key; allowed under data: path, target, task"),
    ("data: {target: ''}", "data.target: got ''; expected text"),
    ("data: {target: day}", "split.time_column: got 'day', which is data.target"),
    ("data: {task: null}", "data.task: got null; expected auto, classification, regression"),
    ("split: {test_size: 0.9}", "split.test_size: got 0.9; expected a number from 0.05 to 0.5"),
    ("split: {method: group}", "split.group_column: got null; split.method group needs the name of a column"),
    ("split: {time_column: null}", "split.time_column: got null; split.method time needs"),
    ("evaluate: {threshold: 2}", "evaluate.threshold: got 2; expected a number from 0 to 1 or auto"),
    (
        "evaluate: {threshold: 0.5, costs: {false_positive: 1, false_negative: 2}}",
        "evaluate.costs: needs evaluate.threshold auto; got 0.5",
    ),
    ("evaluate: {folds: false}", "evaluate.folds: got false; expected 0 (off) or 2 to 20"),
    ("evaluate: {folds: 1}", "evaluate.folds: got 1; expected 0 (off) or 2 to 20"),
    ("evaluate: {folds: 21}", "evaluate.folds: got 21; expected 0 (off) or 2 to 20"),
    ("evaluate: {coverage: 1.0}", "evaluate.coverage: got 1.0; expected a number between 0 and 1, a list"),
    ("evaluate: {coverage: high}", "evaluate.coverage: got 'high'; expected a number between 0 and 1, a list"),
    ("evaluate: {coverage: [0.9, 0]}", "evaluate.coverage"),
    ("evaluate: {coverage: []}", "evaluate.coverage"),
    ("evaluate: {costs: 5}", "evaluate.costs: got 5; expected the keys false_positive, false_negative"),
    ("evaluate: {costs: {false_positive: 1}}", "evaluate.costs: got false_positive; expected both false_positive"),
    ("evaluate: {costs: {false_positive: 0, false_negative: 1}}", "false_positive: got 0; expected a number above 0"),
    (
        "evaluate: {costs: {false_positive: .inf, false_negative: 1}}",
        "false_positive: got inf; expected a number above 0 to 1e+12",
    ),
    ("evaluate: {costs: {false_positive: 1, matrix: {a: {b: 1}}}}", "costs: got false_positive, matrix; expected"),
    ("evaluate: {costs: {matrix: {a: {b: -1}}}}", "evaluate.costs.matrix: got {'a': {'b': -1}}; expected for each"),
    ("evaluate: {costs: {matrix: {a: {b: 1}}, currency: 5}}", "evaluate.costs.currency: got 5; expected a text"),
    ("evaluate: {costs: {fp: 1}}", "evaluate.costs.fp: unknown key; allowed under evaluate.costs: false_positive"),
    ("features: {a/b: c + 1}", "expected names of letters, digits"),
    ("features: {cold: 1}", "expected names of letters, digits"),
    ("features: {cold: c +}", "features.cold: character 4: invalid syntax"),
    ("data: {strict: [month, cold]}", "data.strict: names 'cold', which `features` computes; name a column"),
    ("data: {categorical: [cold]}", "data.categorical: names 'cold', which `features` computes"),
    ("data: {missing: {cold: [-]}}", "data.missing: names 'cold', which `features` computes"),
    ("data: {dates: {season: dmY}}", "data.dates: names 'season', which `features` computes"),
    ("data: {weight: cold}", "data.weight: names 'cold', which `features` computes"),
    ("split: {time_column: season}", "split.time_column: names 'season', which `features` computes"),
    ("evaluate: {groups: [cold]}", "evaluate.groups: names 'cold', which `features` computes"),
    ("evaluate: {groups: sex}", "evaluate.groups: got 'sex'; expected a list, each text"),
    ("evaluate: {groups: [y]}", "evaluate.groups: names the target 'y'"),
    ("register: {max_difference: {tpr: 0.1}}", "register.max_difference: got {'tpr': 0.1}; expected bounds"),
    ("register: {max_difference: {equalized_odds_difference: 0}}", "register.max_difference: got {'equalized"),
    (
        "register: {max_difference: {equalized_odds_difference: 0.1}}",
        "register.max_difference: bounds differences of groups; name their columns in evaluate.groups",
    ),
    ("register: {name: a/b}", "register.name: got 'a/b'; expected a name of at most 100 letters"),
    ("register: {required: no}", "register.required: got 'no'; expected true or false"),
    ("split: 5", "split: got 5; expected the keys method, test_size"),
    ("data: {task: classification}, model: ridge", "model: got 'ridge', which is not for data.task classification"),
    ("data: {task: regression}, model: logistic_regression", "model: got 'logistic_regression', which is not for"),
    ("data: {task: regression}, class_weight: balanced", "class_weight: got 'balanced'; data.task regression"),
    ("data: {task: regression}, calibration: sigmoid", "calibration: got 'sigmoid'; data.task regression needs null"),
    (
        "data: {task: regression}, evaluate: {costs: {false_positive: 1, false_negative: 2}}",
        "evaluate.costs: are for classes; data.task regression needs null",
    ),
    ("model: catboost, max_depth: 17", "max_depth: got 17; model catboost allows 1 to 16 or auto"),
    ("model: catboost, max_depth: null", "max_depth: got null; model catboost allows 1 to 16 or auto"),
    ("model: random_forest, early_stopping: 20", "early_stopping: got 20; model random_forest needs null"),
    ("model: ridge, early_stopping: 20", "model ridge needs null: it doesn't learn in rounds"),
    ("model: a.b:c, early_stopping: 20", "early_stopping: got 20; model a.b:c needs null: set it there"),
    ("model: dummy, class_weight: balanced", "class_weight: got 'balanced'; model dummy needs null"),
]
FILES = {
    b"": "is empty; expected the keys model",
    b"- a": "holds ['a']; expected the keys model",
    b"a: \xff": "is not UTF-8 (invalid start byte at byte 3)",
    b"a: \x00": "is not YAML: unacceptable character",
    b"a: 1\nb: [c": "line 2: is not YAML: ",
    b"a: 1\n\tb: 2": "line 2: is not YAML: found character",
    b"a: !!python/name:os.system": "is not YAML: could not determine a construct",
    b"a: 1\na: 2": 'line 2: is not YAML: found duplicate key "a"',
}
Refuse = Callable[[bytes], str]


@pytest.fixture(scope="module")
def valid(root: Path) -> str:
    """Return the text of a params.yaml with `SETTINGS`, whatever this project's own says."""
    return changed((root / "params.yaml").read_text(encoding="utf-8"), SETTINGS)


def changed(params: str, changes: str) -> str:
    """Return params.yaml with the changes, of which a section changes the keys that it names."""
    document, values = _YAML.load(params), _YAML.load(changes)
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(document.get(key), dict) and key != "features":
            document[key] |= value
        else:
            document[key] = value
    text = io.StringIO()
    _YAML.dump(document, text)
    return text.getvalue()


@pytest.fixture
def refuse(tmp_path: Path) -> Refuse:
    """Return a function that loads a params.yaml with this content and returns the error."""

    def load(content: bytes) -> str:
        (tmp_path / "params.yaml").write_bytes(content)
        with pytest.raises(UserError) as caught:
            load_params(tmp_path / "params.yaml")
        return str(caught.value)

    return load


def test_the_file_and_the_settings_of_these_tests_are_valid(root: Path, valid: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(valid, encoding="utf-8")

    assert load_params(tmp_path / "params.yaml").registered_name == "mine"
    assert load_params(root / "params.yaml").registered_name


@pytest.mark.parametrize(("changes", "expected"), WRONG, ids=[changes for changes, _ in WRONG])
def test_a_wrong_value_is_reported_with_its_key_and_what_is_allowed(
    valid: str, refuse: Refuse, changes: str, expected: str
) -> None:
    assert expected in refuse(changed(valid, f"{{{changes}}}").encode())


def test_a_missing_key_is_reported_with_what_is_expected(valid: str, refuse: Refuse) -> None:
    without = re.sub(r"(?m)^n_estimators:.*\n", "", valid)

    assert "n_estimators: missing; expected a whole number from 1 to 10000" in refuse(without.encode())


@pytest.mark.parametrize("content", FILES)
def test_a_file_that_is_not_yaml_with_keys_is_refused(refuse: Refuse, content: bytes) -> None:
    assert FILES[content] in refuse(content)


def test_all_mistakes_are_reported_at_once_and_a_long_value_is_cut(valid: str, refuse: Refuse) -> None:
    message = refuse(changed(valid, f"{{max_depth: {'x' * 1000}, split: {{test_size: 7}}}}").encode())

    assert "max_depth: got 'xxx" in message
    assert "split.test_size: got 7" in message
    assert len(message) < 400


@pytest.mark.parametrize("name", ["nowhere.yaml", "."])
def test_without_the_file_the_error_says_where_to_run(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="not found; run this in the repository's root"):
        load_params(tmp_path / name)


def test_keys_with_a_default_may_be_left_out(valid: str, tmp_path: Path) -> None:
    optional = ("task", "ignore", "categorical", "strict", "missing", "positive", "folds", "costs", "key")
    kept = [line for line in valid.splitlines() if line.strip().split(":")[0] not in optional]
    (tmp_path / "params.yaml").write_text("\n".join(kept), encoding="utf-8")

    assert load_params(tmp_path / "params.yaml").data.task == "auto"


@pytest.mark.parametrize(
    ("path", "target", "name"),
    [
        ("data/raw/mine.csv.gz", "y", "mine-y"),
        ("data/mine.csv", "y.2", "mine-y.2"),
        ("data/2024/mine.csv", "y", "2024-mine-y"),
        ("data/raw/flights.parquet", "arrival", "flights"),
        ("data/raw/flights.parquet", "carrier", "flights-carrier"),
    ],
)
def test_a_model_is_named_after_its_table_and_target(path: str, target: str, name: str) -> None:
    assert model_name(path, target) == name


@pytest.mark.parametrize(("one", "other"), [("Güte", "Gäte"), ("a b", "a-b"), ("класс", "цель"), ("x" * 99, "x" * 98)])
def test_names_that_differ_only_in_replaced_characters_stay_apart(one: str, other: str) -> None:
    assert model_name("data/mine.csv", one) != model_name("data/mine.csv", other)


@example("data/_mine.csv", "y")
@given(st.text(min_size=1), st.text(min_size=1))
def test_every_table_and_target_have_a_name_that_the_registry_accepts(path: str, target: str) -> None:
    name = model_name(path, target)

    assert RegisterParams(name=name, min_gain=0, tolerance=0, required=False).name == name
    assert re.fullmatch(r"[A-Za-z0-9._-]+", name)


@pytest.mark.parametrize("form", ["Ymd", "dmy", "mY", "%d.%m.%y", "%Y-%m-%dT%H:%M:%S.%f%z"])
def test_a_known_form_of_dates_is_accepted(form: str) -> None:
    DataParams(path="table.csv", target="y", dates={"sent": form})


@pytest.mark.parametrize("form", ["", "d", "dd", "Yymd", "day", "%Q", "%d/%d", "%"])
def test_an_unknown_form_of_dates_is_refused(form: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        DataParams(path="table.csv", target="y", dates={"sent": form})
