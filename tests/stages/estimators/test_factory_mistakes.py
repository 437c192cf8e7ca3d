"""A mistake in the user's own estimator is one line that names its place, and never a traceback."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stages.errors import UserError
from stages.params.params import Params
from stages.prepare import __main__ as prepare
from stages.train import __main__ as train

Make = Callable[..., Params]
MODULE = """
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier

def failing():
    return {}["depth"]

def uncalled():
    return DecisionTreeClassifier

def nothing():
    pass

def unfinished():
    return Unfinished()

def unnamed():
    return make_pipeline(FunctionTransformer(lambda X: X), DecisionTreeClassifier())

class Unfinished(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        return self.forgotten
"""


@pytest.fixture
def fit(table: pd.DataFrame, params: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that trains a model of a module with this code, and returns the error's line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def train_one(model: str, code: str = MODULE, target: str = "y") -> str:
        module = model.partition(":")[0]
        Path(f"{module}.py").write_text(code, encoding="utf-8")
        stages = [f"  {stage}:\n    deps: [{module}.py]" for stage in ("train", "export", "evaluate")]
        Path("dvc.yaml").write_text("\n".join(["stages:", *stages]), encoding="utf-8")
        wanted = params(model=model, data={"target": target})
        rows, _, schema = prepare.prepare(table, wanted)
        with pytest.raises(UserError) as caught:
            train.save(train.train(rows, schema.contract, wanted), wanted.model)
        assert not Path("models/model.joblib").exists()
        return str(caught.value)

    return train_one


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("failing", "fails: mistakes_failing.py:8: KeyError: 'depth'"),
        ("uncalled", "returns the class DecisionTreeClassifier; return an estimator, such as Ridge()"),
        ("nothing", "returns None; return an estimator, such as Ridge()"),
        ("unfinished", "can't be fitted: mistakes_unfinished.py:24: AttributeError: "),
        ("unnamed", "can't be saved; name each function by `def`: PicklingError: "),
    ],
)
def test_a_mistake_is_one_line(fit: Callable[..., str], function: str, expected: str) -> None:
    line = fit(f"mistakes_{function}:{function}")

    assert line.startswith(f"params.yaml: model: mistakes_{function}:{function} {expected}")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "code", "expected"),
    [
        ("syntax", "def make(:", "SyntaxError: "),
        ("package", "\nimport not_installed", "package.py:2: ModuleNotFoundError: No module named 'not_installed'"),
        ("division", "1 / 0", "division.py:1: ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(
    fit: Callable[..., str], name: str, code: str, expected: str
) -> None:
    prefix = "" if name == "syntax" else "mistakes_"
    line = fit(f"mistakes_{name}:make", code)

    assert line.startswith(f"params.yaml: model: mistakes_{name}:make can't be imported: {prefix}{expected}")


def test_a_class_without_a_signature_is_no_estimator(fit: Callable[..., str]) -> None:
    assert "builtins:int fails: no signature found" in fit("builtins:int")


def test_a_classifier_for_a_regression_is_refused(fit: Callable[..., str]) -> None:
    line = fit("mistakes_classifier:DecisionTreeClassifier", target="row")

    assert line.endswith("returns a classifier, but 'row' holds numbers; return a regressor")
