"""`dvc plots` on two models of each task."""

import json
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser

from stages import files
from stages.evaluate import __main__ as evaluate
from stages.export import __main__ as export
from stages.params.loading import load_params
from stages.params.sample_use import SampleUse, write_sample_use
from stages.prepare import __main__ as prepare
from stages.train import __main__ as train
from tests.e2e import plots_page

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("plots")]
OF_ALL = {"calibration", "scores", "importance", "contributions", "interactions", "coverage"}
OF_CLASSES = OF_ALL | {"confusion", "roc", "precision_recall"}
TASKS = {
    "binary": OF_CLASSES | {"dependence", "thresholds", "lift"},
    "multiclass": OF_CLASSES,
    "regression": OF_ALL | {"residuals", "predicted_actual", "dependence"},
}


def small(task: str, rows: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=rows), "<b>": rng.normal(size=rows)})
    signal = table["a"] * 5 + rng.normal(size=rows)
    if task == "regression":
        return table.assign(y=signal)
    names = np.array(["</script>", "no", "sí"] if task == "multiclass" else ["</script>", "no"])
    return table.assign(y=names[pd.qcut(signal, len(names), labels=False)])


def evaluated(project: Any, table: pd.DataFrame, message: str) -> None:
    """Do what the stages up to evaluate do, without starting each as a process, and let DVC take the outputs."""
    params = load_params()
    rows, test, schema = prepare.prepare(table, params)
    pipeline = train.train(rows, schema.contract, params)
    for path in (files.TRAIN, files.ONNX):
        path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(files.TRAIN)
    test.to_parquet(files.TEST)
    files.write_text(files.SCHEMA, schema.model_dump_json())
    joblib.dump(pipeline, files.MODEL)
    train.predict_out_of_fold(rows, schema, params).write(files.OUT_OF_FOLD)
    files.write_json(files.CANDIDATES, [])
    write_sample_use(SampleUse(rows=len(rows), of=len(rows), metric="roc_auc"))
    export.main()
    evaluate.main()
    project.ok("dvc", "commit", "--quiet", "--force", "evaluate")
    project.commit(message)


@pytest.fixture(scope="module", params=TASKS)
def compared(project: Callable[..., Any], request: pytest.FixtureRequest) -> tuple[Any, str]:
    """Return a project with a model of one tree and one of four, each committed, and its task."""
    table = small(request.param)
    made = project(table, model="random_forest", n_estimators=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.path)
        evaluated(made, table, "One tree")
        made.set(n_estimators=4)
        evaluated(made, table, "Four trees")
    return made, request.param


def drawn(project: Any, *command: str) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each plot that the page shows, by the plot's name."""
    plots = json.loads(project.ok("dvc", "plots", *command, "--json"))["data"]
    rows = {name: [row for each in shown for row in each["content"]["data"]["values"]] for name, shown in plots.items()}
    return {name: each for name, each in rows.items() if each}


def test_every_plot_of_the_task_is_compared_between_revisions_and_no_other(compared: tuple[Any, str]) -> None:
    project, task = compared
    found = drawn(project, "diff", "HEAD~1", "HEAD")

    assert set(found) == TASKS[task]
    assert {(name, row["rev"]) for name, rows in found.items() for row in rows} == {
        (name, rev) for name in found for rev in ("HEAD~1", "HEAD")
    }


def test_the_page_draws_every_plot_of_the_task_without_the_internet(
    compared: tuple[Any, str], chromium: Browser
) -> None:
    project, task = compared
    project.ok("dvc", "plots", "diff", "HEAD~1", "HEAD")
    page = chromium.new_page(offline=True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((project.path / "dvc_plots/index.html").as_uri())
    drawn = page.locator("svg.marks")
    drawn.nth(len(TASKS[task]) - 1).wait_for()
    sizes = [drawn.nth(place).bounding_box() for place in range(drawn.count())]

    assert len(sizes) == page.locator("body > div").count() == len(TASKS[task])
    assert all(size and min(size["width"], size["height"]) > 50 for size in sizes)
    assert asked == [page.url]
    page.close()


def test_the_page_has_the_javascript_of_the_locked_vl_convert() -> None:
    assert plots_page.PAGE.read_text(encoding="utf-8") == plots_page.page(), "run `python tests/e2e/plots_page.py`"


@pytest.mark.parametrize("compared", ["multiclass"], indirect=True)
def test_names_from_the_table_cannot_end_a_script_of_the_page(compared: tuple[Any, str]) -> None:
    project, _ = compared
    project.ok("dvc", "plots", "show")
    page = (project.path / "dvc_plots/index.html").read_text(encoding="utf-8")

    assert page.count("<script") == page.count("</script>")
