"""The report of a run: one file with all results of any task, the same for the same results, safe for any name."""

import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from ruamel.yaml import YAML

from stages import files
from stages.evaluate import __main__ as evaluate
from stages.export import __main__ as export
from stages.params.params import Params
from stages.params.sample_use import SampleUse, write_sample_use
from stages.prepare import __main__ as prepare
from stages.report.page import Interval, compose
from stages.report.results import read_results
from stages.scores.gate import check
from stages.train import __main__ as train

HOSTILE = "<script>alert(1)</script> $x_{'\"&"
LARGEST = 3_000_000
COSTS = {"false_positive": 1, "false_negative": 5}
ALL: dict[str, Any] = {"groups": ["旗"], "threshold": "auto", "costs": COSTS, "folds": 2, "worst_rows": 3}
NO_FOLDS: dict[str, Any] = {"threshold": 0.5, "costs": None, "groups": [], "folds": 0}


def small(task: str, rows: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            HOSTILE: rng.normal(size=rows),
            "город": rng.choice(["Москва", "</style><b>", "=1+1"], rows),
            "when": pd.date_range("2020-01-01", periods=rows, freq="37h"),
            "旗": rng.random(rows) > 0.5,
            "built": np.arange(rows) % 3 + 2011,
        }
    )
    table.loc[::7, HOSTILE] = np.nan
    signal = table[HOSTILE].fillna(0) + table["旗"] + rng.normal(size=rows) / 2
    if task == "regression":
        return table.assign(y=signal * 1e6)
    count = {"binary": 2, "multiclass": 3, "30 classes": 30}[task]
    return table.assign(y=[f"<{each}>" for each in pd.qcut(signal, count, labels=False)])


@pytest.fixture
def report(tmp_path: Path, params: Callable[..., Params], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that runs the stages from prepare to evaluate on a table, and returns the report."""
    monkeypatch.chdir(tmp_path)

    def make(table: pd.DataFrame, **changes: Any) -> str:
        made = params(**{"evaluate": {"threshold": "auto", "costs": None, "groups": [], "folds": 2}} | changes)
        with files.PARAMS.open("w", encoding="utf-8") as file:
            YAML().dump(made.model_dump(by_alias=True), file)
        rows, test, schema = prepare.prepare(table, made)
        for path in (files.TRAIN, files.ONNX):
            path.parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(files.TRAIN)
        test.to_parquet(files.TEST)
        files.write_text(files.SCHEMA, schema.model_dump_json())
        pipeline = train.train(rows, schema.contract, made)
        joblib.dump(pipeline, files.MODEL)
        train.predict_out_of_fold(rows, schema, made).write(files.OUT_OF_FOLD)
        files.write_json(files.CANDIDATES, [])
        write_sample_use(SampleUse(rows=len(rows), of=len(rows), metric="roc_auc"))
        export.main()
        evaluate.main()
        expected = [{"success": True, "expectation_config": {"description": f"{HOSTILE} is there"}}]
        files.write_json(files.VALIDATION, {"success": True, "suite": None, "table": "a table", "results": expected})
        found = read_results(made)
        return compose(found, check(found.metrics, schema.contract.task, 0.05, {})).html()

    return make


class Elements(HTMLParser):
    """The elements of a page, and whether each that begins ends."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "data", "action")]
        if tag not in ("meta", "br", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("task", ["binary", "multiclass", "30 classes", "regression"])
def test_a_report_is_one_small_file_that_asks_for_no_other_and_runs_nothing(
    report: Callable[..., str], task: str
) -> None:
    text = report(small(task, 600 if task == "30 classes" else 200), data={"rare_classes": "drop"})
    page = Elements(text)

    assert page.open == []
    assert not {"script", "img", "link", "iframe", "b"} & set(page.elements)
    assert [each for each in page.addresses if not each.startswith("#")] == []
    assert re.findall(r"url\((?!#)|@import", text) == []
    assert len(text.encode()) < LARGEST
    assert ">旗</text>" in text
    assert re.findall(r">\s*-?(?:nan|inf|None)\b", text) == []


def test_a_report_is_readable_on_a_phone_in_the_dark_printed_and_by_a_screen_reader(
    report: Callable[..., str], chromium: Browser, tmp_path: Path
) -> None:
    (tmp_path / "report.html").write_text(report(small("binary"), evaluate=ALL), "utf-8")
    for width, scheme in ((1280, "light"), (390, "dark")):
        context = chromium.new_context(offline=True, color_scheme=scheme, viewport={"width": width, "height": 900})  # type: ignore[arg-type]
        page = context.new_page()
        page.goto((tmp_path / "report.html").as_uri())
        found = [each for each in Axe().run(page).response["violations"] if each["impact"] in ("serious", "critical")]

        assert [f"{each['id']}: {node['html']}" for each in found for node in each["nodes"]] == []
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.get_by_role("img", name="Cost by threshold").is_visible()
        assert page.get_by_role("rowheader", name="2013", exact=True).is_visible()
        assert page.get_by_role("table").filter(has_text="probability of actual").get_by_role("row").count() == 1 + 3
        dates = page.get_by_role("row", name="last 2020-").locator("xpath=ancestor::table").get_by_role("row").all()
        head, first, last = (row.bounding_box() for row in dates)
        assert head
        assert all(row and row["height"] < 1.5 * head["height"] for row in (first, last))  # of one line each
        check_print(page)
        context.close()


@pytest.mark.parametrize(
    ("bounds", "is_loss", "verdict"),
    [
        ((0.7, 0.68, 0.73), False, "better"),
        ((0.7, 0.68, 0.73), True, "worse"),
        ((0.4, 0.3, 0.49), False, "worse"),
        ((0.55, 0.49, 0.6), False, ""),
        ((0.4, None, None), True, ""),
    ],
)
def test_a_metric_is_better_than_without_a_model_only_if_its_whole_interval_is(
    bounds: tuple[float, float | None, float | None], is_loss: bool, verdict: str
) -> None:
    assert Interval.alone(*bounds, 0.5).verdict(is_loss=is_loss) == verdict


def check_print(page: Page) -> None:
    """Check that what is folded on the screen is printed, and that the navigation isn't."""
    expectation, navigation = page.get_by_text("is there"), page.get_by_role("navigation")
    assert (expectation.is_visible(), navigation.is_visible()) == (False, True)
    page.emulate_media(media="print")
    assert (expectation.is_visible(), navigation.is_visible()) == (True, False)


@pytest.mark.parametrize("rows", [12, 30])
def test_a_tiny_table_has_a_report(report: Callable[..., str], rows: int) -> None:
    table = pd.DataFrame({"a": np.arange(rows) % 5, "y": ["no", "yes"] * (rows // 2)})

    assert "Report: y" in report(table, data={"rare_classes": "drop"}, evaluate=NO_FOLDS)


def test_a_wide_table_has_a_small_report_and_only_columns_that_drift_beside_the_chart(
    report: Callable[..., str],
) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(800, 200)), columns=[f"column {place} {HOSTILE}" for place in range(200)])
    table["drifts"] = rng.random(800) < np.repeat([0.01, 0.99], [600, 200])
    table["when"] = pd.date_range("2020-01-01", periods=800, freq="h")
    split = {"method": "time", "test_size": 0.25, "time_column": "when"}
    text = report(table.assign(y=np.where(table.iloc[:, 0] > 0, "yes", "no")), evaluate=NO_FOLDS, split=split)

    assert len(text.encode()) < LARGEST
    assert "52 more columns contribute less" in text
    # The one column that drifts contributes nothing, so it has no profile, and none stands beside the chart.
    assert re.findall("<h3>(.*?)</h3>", text.split('id="data"')[1])[:2] == ["Drift from training to test rows", "y"]


def test_equal_results_give_equal_bytes(report: Callable[..., str]) -> None:
    table = small("multiclass")

    assert report(table) == report(table)


DEMO = Path(__file__).parents[3] / "metrics/report.html"


@pytest.mark.skipif(not DEMO.exists(), reason="there is no report; `make pull` or `dvc repro`")
def test_the_report_of_the_demo_fits_its_page(chromium: Browser, root: Path, tmp_path: Path) -> None:
    """With PICTURES=1 the test also writes the picture of the docs."""
    page = chromium.new_page(viewport={"width": 1280, "height": 1500})
    page.goto(DEMO.as_uri())
    page.screenshot(path=(root / "docs/images" if os.environ.get("PICTURES") else tmp_path) / "report.png")

    assert page.evaluate("document.documentElement.scrollWidth") == 1280
    page.close()
