"""params.yaml: whatever is not allowed is told with key, value and what is allowed."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from stages import params
from stages.errors import UserError

# What is written in place of which text, and what is said about it.
WRONG = [
    ("n_estimators: 100", "n_estimators: 0", "n_estimators: got 0; expected a whole number from 1 to 10000"),
    ("n_estimators: 100", "n_estimators: true", "n_estimators: got true; expected a whole number"),
    ("n_estimators: 100", "n_estimators: 10.5", "n_estimators: got 10.5; expected a whole number"),
    ("n_estimators: 100", "n_estimators: '10'", "n_estimators: got '10'; expected a whole number"),
    ("n_estimators: 100", "n_estimators: null", "n_estimators: got null; expected a whole number"),
    ("n_estimators: 100", "n_trees: 100", "n_estimators: missing; expected a whole number from 1 to 10000"),
    ("n_estimators: 100", "n_trees: 5\nn_estimators: 100", "n_trees: unknown key; allowed: model, n_estimators"),
    ("n_estimators: 100", "5: 6\nn_estimators: 100", "5: unknown key; allowed: model, n_estimators"),
    ("model: hist_gradient_boosting", "model: forest", "model: got 'forest'; expected random_forest, extra_trees"),
    ("max_depth: auto", "max_depth: 0", "max_depth: got 0; expected a whole number from 1 to 64 or auto or null"),
    ("max_features: auto", "max_features: 2", "got 2; expected auto, sqrt, log2 or a number above 0 to 1 or null"),
    ("max_features: auto", "max_features: root", "max_features: got 'root'; expected auto, sqrt, log2 or a number"),
    ("max_features: auto", "max_features: true", "max_features: got true; expected auto, sqrt, log2 or a number"),
    ("learning_rate: 0.1", "learning_rate: .nan", "learning_rate: got nan; expected a number above 0 to 1"),
    ("l2_penalty: 1.0", "l2_penalty: .inf", "l2_penalty: got inf; expected a number from 1e-09 to 1000000000.0"),
    ("class_weight: null", "class_weight: auto", "class_weight: got 'auto'; expected balanced or null"),
    ("random_state: 42", "random_state: -1", "random_state: got -1; expected a whole number from 0 to 4294967295"),
    ("ignore: []", "ignore: month", "data.ignore: got 'month'; expected a list, each text"),
    ("ignore: []", "ignore: [1]", "data.ignore: got 1; expected a list, each text (in quotes if it looks like"),
    ("ignore: []", "ignore: [arrival]", "data.ignore: names the target 'arrival'; take it out of the list"),
    ("ignore: []", "ignore: [time_hour]", "data.ignore: names 'time_hour', which split.time_column needs"),
    ("strict: []", "strict: [arrival]", "data.strict: names the target 'arrival'"),
    ("missing: [", "missing: [1, ", "data.missing: got [1, "),
    ("delimiter: auto", "delimiter: ',,'", "data.delimiter: got ',,'; expected auto or one character"),
    ("encoding: auto", "encoding: latin-99", "data.encoding: got 'latin-99'; expected auto or an encoding that Python"),
    ("decimal: auto", "decimal: ';'", "data.decimal: got ';'; expected auto, '.' or ','"),
    ("dates: auto", "dates: {sent: day}", "data.dates: got {'sent': 'day'}; expected auto, an order such as dmY"),
    ("positive: null", "positive: 1.5", "data.positive: got 1.5; expected true or false or a whole number or text"),
    ("positive: null", "treshold: 5", "data.treshold: unknown key; allowed under data: path, target, task"),
    ("target: arrival", "target: ''", "data.target: got ''; expected text"),
    ("target: arrival", "target: time_hour", "split.time_column: got 'time_hour', which is data.target"),
    ("task: auto", "task: classes", "data.task: got 'classes'; expected auto, classification, regression"),
    ("task: auto", "task: null", "data.task: got null; expected auto, classification, regression"),
    ("test_size: 0.33", "test_size: 0.9", "split.test_size: got 0.9; expected a number from 0.05 to 0.5"),
    ("method: time", "method: date", "split.method: got 'date'; expected random, time, group"),
    ("method: time", "method: group", "split.group_column: got null; split.method group needs the name of a column"),
    ("time_column: time_hour", "time_column: null", "split.time_column: got null; split.method time needs"),
    ("threshold: auto", "threshold: 2", "evaluate.threshold: got 2; expected a number from 0 to 1 or auto"),
    ("folds: 5", "folds: 1", "evaluate.folds: got 1; expected 0 (off) or 2 to 20"),
    ("folds: 5", "folds: 21", "evaluate.folds: got 21; expected a whole number from 0 to 20 or null"),
    ("costs: null", "costs: 5", "evaluate.costs: got 5; expected the keys false_positive, false_negative"),
    ("costs: null", "costs: {false_positive: 1}", "evaluate.costs.false_negative: missing; expected a number above 0"),
    ("costs: null", "costs: {fp: 1}", "evaluate.costs.fp: unknown key; allowed under evaluate: false_positive"),
    ("name: null", "name: a/b", "register.name: got 'a/b'; expected a name of at most 100 letters"),
    ("required: false", "required: no", "register.required: got 'no'; expected true or false"),
    ("\nsplit:\n", "\nsplit: 5\nspilt:\n", "split: got 5; expected the keys method, test_size"),
    ("model: hist_gradient_boosting", "model: [a", "line "),
    ("model: hist_gradient_boosting", "\tmodel: a", "line 5: is not YAML: found character"),
    (
        "model: hist_gradient_boosting",
        "model: !!python/name:os.system",
        "is not YAML: could not determine a constructor",
    ),
    ("model: hist_gradient_boosting", "model: ridge\nmodel: dummy", 'line 6: is not YAML: found duplicate key "model"'),
]
FILES = {
    b"": "is empty; expected the keys model",
    b"# nothing\n": "is empty; expected the keys model",
    b"- a": "holds ['a']; expected the keys model",
    b"a: \xff": "is not UTF-8 (invalid start byte at byte 3)",
    b"a: \x00": "is not YAML: unacceptable character",
}


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[[bytes], str]:
    def refuse(content: bytes) -> str:
        (tmp_path / "params.yaml").write_bytes(content)
        with pytest.raises(UserError) as caught:
            params.load(tmp_path / "params.yaml")
        return str(caught.value)

    return refuse


def test_the_committed_file_is_allowed(root: Path) -> None:
    assert params.load(root / "params.yaml").n_estimators == 100


@pytest.mark.parametrize(("right", "wrong", "expected"), WRONG, ids=[wrong for _, wrong, _ in WRONG])
def test_a_wrong_value_is_told_with_its_key_and_what_is_allowed(
    root: Path, refusal: Callable[[bytes], str], right: str, wrong: str, expected: str
) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8")
    assert right in text

    assert expected in refusal(text.replace(right, wrong, 1).encode())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"task": "classification", "model": "ridge"}, "model: got 'ridge', which is not for data.task classification"),
        ({"task": "regression", "model": "logistic_regression"}, "model: got 'logistic_regression', which is not for"),
        ({"task": "regression", "class_weight": "balanced"}, "class_weight: got 'balanced'; data.task regression"),
    ],
)
def test_a_model_of_another_task_than_the_stated_one_is_told(
    root: Path, refusal: Callable[[bytes], str], changes: dict[str, str], expected: str
) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8")
    for key, value in changes.items():
        text = re.sub(rf"(?m)^( *){key}: \S+", rf"\1{key}: {value}", text)

    assert expected in refusal(text.encode())


@pytest.mark.parametrize("content", FILES)
def test_a_file_that_holds_no_keys_is_refused(refusal: Callable[[bytes], str], content: bytes) -> None:
    assert FILES[content] in refusal(content)


def test_all_that_is_wrong_is_told_at_once(root: Path, refusal: Callable[[bytes], str]) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8")

    told = refusal(text.replace("max_depth: auto", "max_depth: 0").replace("test_size: 0.33", "test_size: 7").encode())

    assert "max_depth: got 0" in told
    assert "split.test_size: got 7" in told


def test_costs_without_an_automatic_threshold_are_refused(root: Path, refusal: Callable[[bytes], str]) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8").replace("threshold: auto", "threshold: 0.5")
    costs = text.replace("costs: null", "costs: {false_positive: 1, false_negative: 2}")

    assert "evaluate.costs: needs evaluate.threshold auto; got 0.5" in refusal(costs.encode())


def test_a_long_value_is_cut(root: Path, refusal: Callable[[bytes], str]) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8")

    assert len(refusal(text.replace("max_depth: auto", f"max_depth: {'x' * 1000}").encode())) < 300


@pytest.mark.parametrize("name", ["nowhere.yaml", "."])
def test_where_there_is_no_file_the_place_to_run_in_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="not found; run this in the repository's root"):
        params.load(tmp_path / name)


def test_keys_that_few_change_may_be_left_out(root: Path, tmp_path: Path) -> None:
    kept = [
        line
        for line in (root / "params.yaml").read_text(encoding="utf-8").splitlines()
        if line.strip().split(":")[0]
        not in ("task", "ignore", "categorical", "strict", "missing", "bootstrap", "positive")
    ]
    (tmp_path / "params.yaml").write_text("\n".join(kept), encoding="utf-8")

    assert params.load(tmp_path / "params.yaml").data.task == "auto"
