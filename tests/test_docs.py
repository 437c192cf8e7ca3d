"""The site made of docs/ builds without a warning, needs no other server, and lists what users can set and call."""

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from monitoring.alerts import alerts
from monitoring.timing import LIMITS, PRODUCTION
from service.settings import Settings
from tests.service.artifacts import written

ROOT = Path(__file__).parent.parent
SITE = ROOT / "build/site"


def build(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory) -> None:
    pages = build("docs.reference_pages", **written(tmp_path_factory.mktemp("released")).environment())
    assert pages.returncode == 0, pages.stderr
    site = build("zensical", "build", "--strict", "--clean")
    assert site.returncode == 0, site.stdout + site.stderr


def words_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", (SITE / f"{page}.html").read_text(encoding="utf-8")))


pytestmark = pytest.mark.xdist_group("docs")


@pytest.mark.usefixtures("_site")
def test_pages_load_nothing_from_another_server() -> None:
    loaded = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*(?:src|href)=["']?(?:https?:)?//""")

    assert [page.name for page in SITE.rglob("*.html") if loaded.search(page.read_text(encoding="utf-8"))] == []


@pytest.mark.usefixtures("_site")
def test_every_setting_has_a_meaning() -> None:
    page = words_of("reference/environment")

    assert [name for name in Settings.model_fields if name.upper() not in page] == []
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.usefixtures("_site")
def test_every_parameter_target_and_alert_is_listed() -> None:
    params = re.findall(r"^( *)([a-z_]\w*):", (ROOT / "params.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    targets = re.findall(r"^([a-z-]+):(?!=).* ## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)

    assert [name for _, name in params if name not in words_of("reference/parameters")] == []
    assert [name for name in targets if f"make {name} " not in words_of("reference/commands")] == []
    assert [each.name for each in alerts(PRODUCTION, LIMITS) if each.name not in words_of("reference/alerts")] == []


@pytest.mark.usefixtures("_site")
@pytest.mark.parametrize("page", ["parameters", "environment"])
def test_the_pages_that_a_parameter_or_setting_names_are_links(page: str) -> None:
    assert "docs/" not in words_of(f"reference/{page}")


@pytest.mark.usefixtures("_site")
@pytest.mark.parametrize("text", ["POST /predict", "GET /model-info", "POST /token", "explain"])
def test_the_api_is_described(text: str) -> None:
    assert text in words_of("reference/api")


@pytest.mark.usefixtures("_site")
@pytest.mark.parametrize("name", ["http_request_duration_seconds", "predictions_total", "feature_reference_share"])
def test_the_metrics_are_described(name: str) -> None:
    assert name in words_of("reference/metrics")


def test_without_a_release_an_error_says_what_to_do(tmp_path: Path) -> None:
    done = build("docs.reference_pages", RELEASES=str(tmp_path), SECRET_KEY="x" * 32)

    assert done.returncode == 1
    assert "make repro" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_notebook_shows_the_outputs_of_one_run_from_the_start() -> None:
    book = json.loads((ROOT / "docs/examples/from_table_to_feedback.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]

    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])
