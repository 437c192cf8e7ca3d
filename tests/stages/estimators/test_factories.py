"""An estimator of the user's is trained, converted and compared like all others, or refused with the reason."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages.errors import UserError
from stages.estimators import out_of_fold
from stages.estimators.calibration import calibrate
from stages.export import __main__ as export
from stages.export import parity
from stages.params.params import Params
from stages.partitions.served import score as score_rows
from stages.prepare import __main__ as prepare
from stages.train import __main__ as train

Make = Callable[..., Params]
Fit = Callable[..., tuple[float, bytes]]
MORE = """
from lightgbm import LGBMClassifier
from sklearn.ensemble import AdaBoostClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import Lasso
from sklearn.dummy import DummyClassifier
from sklearn.svm import LinearSVC


def linear(**options):
    return make_pipeline(SimpleImputer(), StandardScaler(), Lasso(**options))


def undecided(columns):
    return make_pipeline(SimpleImputer(), LinearSVC())


def trees(random_state):
    kinds = [
        HistGradientBoostingClassifier(max_iter=5),
        LGBMClassifier(n_estimators=5, verbosity=-1, n_jobs=1),
        RandomForestClassifier(5, random_state=random_state),
    ]
    return StackingClassifier([(type(kind).__name__, kind) for kind in kinds])


def adaptive():
    return make_pipeline(SimpleImputer(), AdaBoostClassifier(n_estimators=2))
"""


@pytest.fixture
def module(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Write the documented example, and more, into a module of a repository whose stages depend on it."""
    name = "mine_" + re.sub(r"\W", "_", request.node.name)
    example = re.search(
        r"```python\n(.*?)```", (root / "docs/how-to/estimators.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert example
    (tmp_path / f"{name}.py").write_text(example[1] + MORE, encoding="utf-8")
    stages = [f"  {stage}:\n    deps: [{name}.py]" for stage in ("train", "export", "evaluate")]
    (tmp_path / "dvc.yaml").write_text("\n".join(["stages:", *stages]), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.fixture
def fit(table: pd.DataFrame, params: Make) -> Fit:
    """Return a function that fits a model and returns its file, and the largest difference on the test rows."""

    def train_and_export(
        model: str, *ignored: str, table: pd.DataFrame = table, regression: bool = False, **factory: Any
    ) -> tuple[float, bytes]:
        wanted = params(model=model, factory=factory, data={"ignore": list(ignored)})
        rows, test, schema = prepare.prepare(table.assign(y=table["row"] * 1.5) if regression else table, wanted)
        pipeline = train.train(rows, schema.contract, wanted)
        content = export.export(pipeline, schema.contract)
        served = export.load_exported(content)
        return parity.compare(pipeline, served, test, score_rows(served, test))[0], content

    return train_and_export


def test_the_documented_stacking_agrees_on_every_test_row_in_the_same_bytes(module: str, fit: Fit) -> None:
    first, again = (fit(f"{module}:stacking", C=10) for _ in range(2))

    assert first[0] < 1e-6
    assert first == again


def test_its_probabilities_can_be_calibrated(module: str, table: pd.DataFrame, params: Make) -> None:
    wanted = params(model=f"{module}:stacking", calibration="sigmoid")
    rows, test, schema = prepare.prepare(table, wanted)
    pipeline = calibrate(
        train.train(rows, schema.contract, wanted),
        rows,
        schema.contract,
        out_of_fold.predict(rows, schema.contract, schema.split, wanted),
        wanted,
    )
    served = export.load_exported(export.export(pipeline, schema.contract))
    assert parity.compare(pipeline, served, test, score_rows(served, test))[0] < 1e-6


def test_weights_for_an_estimator_that_takes_none_are_refused(module: str, table: pd.DataFrame, params: Make) -> None:
    wanted = params(model=f"{module}:stacking", data={"weight": "row"})
    rows, _, schema = prepare.prepare(table.assign(row=table["row"] + 1), wanted)
    with pytest.raises(UserError, match=r"data.weight: the fit of \w+:stacking has no sample_weight; use null"):
        train.train(rows, schema.contract, wanted)


def test_a_regression_agrees_and_gets_the_arguments_of_params(module: str, fit: Fit) -> None:
    files = [fit(f"{module}:linear", regression=True, alpha=alpha) for alpha in (0.01, 1.0)]

    assert max(difference for difference, _ in files) < 1e-6
    assert files[0][1] != files[1][1]


@pytest.mark.parametrize(
    ("function", "factory", "expected"),
    [
        ("nothing", {}, "has no function 'nothing'"),
        ("stacking", {"D": 1}, r"factory: \w+:stacking does not accept it: .*unexpected keyword argument 'D'"),
        ("undecided", {}, r"undecided has no predict_proba; scikit-learn's CalibratedClassifierCV\(estimator"),
        ("DummyClassifier", {}, "skl2onnx cannot convert DummyClassifier: Unable to find a shape calculator"),
        ("adaptive", {}, "the converted model: ONNX Runtime refuses it: .*choose another model in params.yaml"),
        ("SVC", {}, "SVC can't be fitted: Input X contains NaN"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    module: str, fit: Fit, function: str, factory: dict[str, object], expected: str
) -> None:
    with pytest.raises(UserError, match=expected) as caught:
        fit(f"{module}:{function}", **factory)

    assert "\n" not in str(caught.value)


def test_trees_of_all_kinds_agree_in_a_pipeline_with_missing_values(module: str, fit: Fit, request: Any) -> None:
    for name in ("table", "hard_table"):
        difference, _ = fit(f"{module}:trees", table=request.getfixturevalue(name))
        assert difference < 1e-6


def test_a_module_that_is_not_there_is_named(module: str, fit: Fit) -> None:
    with pytest.raises(UserError, match=r"model: got 'gone\.mine:stacking', and there is no module 'gone' here"):
        fit("gone.mine:stacking")


def test_a_module_that_dvc_does_not_track_is_named_with_the_stage(module: str, fit: Fit) -> None:
    text = Path("dvc.yaml").read_text(encoding="utf-8")
    Path("dvc.yaml").write_text(text.replace(f"export:\n    deps: [{module}.py", "export:\n    deps: ["), "utf-8")

    with pytest.raises(UserError, match=f"dvc.yaml: the deps of the stage export lack {module}.py"):
        fit(f"{module}:stacking")


def test_a_class_of_an_installed_package_needs_no_module(module: str, fit: Fit) -> None:
    with_gaps = ("a b", "when")
    difference, _ = fit("sklearn.naive_bayes:GaussianNB", *with_gaps, var_smoothing=1e-6)

    assert difference < 1e-6
