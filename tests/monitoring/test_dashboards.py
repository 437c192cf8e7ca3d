"""Dashboards: the committed files equal the generated ones, and no panel is empty under traffic."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring import generate, panels
from monitoring.board import Board
from monitoring.dashboards import BOARDS
from tests.monitoring.conftest import Watched

GRAFANA = Path("monitoring/grafana")
VARIABLES = {"$__rate_interval": "10s", "$__range": "1m", "$instance": ".*", "$version": ".*", "$feature": ".*"}


def built() -> Iterator[tuple[Board, dict[str, Any]]]:
    for board in BOARDS:
        for panel in json.loads(board.text())["panels"]:
            yield board, panel


def expressions(panel: dict[str, Any]) -> list[str]:
    """Return a panel's queries as Grafana sends them if all variables are set to All."""
    found = [target["expr"] for target in panel["targets"]]
    for name, value in VARIABLES.items():
        found = [expr.replace(name, value) for expr in found]
    return found


EACH_PANEL = pytest.mark.parametrize(
    "panel", [pytest.param(panel, id=f"{board.uid}-{panel['title']}") for board, panel in built()]
)


@pytest.mark.parametrize("name", generate.dashboard_files())
def test_committed_dashboards_equal_the_generated_ones(name: str, root: Path) -> None:
    assert (root / GRAFANA / "dashboards" / name).read_text(encoding="utf-8") == generate.dashboard_files()[name]


def test_the_data_source_of_all_panels_is_provisioned(root: Path) -> None:
    file = root / GRAFANA / "provisioning/datasources/prometheus.yml"
    (source,) = yaml.safe_load(file.read_text(encoding="utf-8"))["datasources"]
    assert (source["uid"], source["type"]) == (panels.DATASOURCE, "prometheus")
    text = "".join(generate.dashboard_files().values())
    assert set(re.findall(r'"uid": "([^"]+)"', text)) == {panels.DATASOURCE, *(board.uid for board in BOARDS)}


@EACH_PANEL
def test_a_panel_has_unit_description_and_thresholds(panel: dict[str, Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    assert len(panel["description"]) > 20
    assert defaults["unit"]
    assert defaults["thresholds"]["steps"]
    assert defaults["noValue"]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_variables_are_exactly_those_that_panels_use(board: Board) -> None:
    text = board.text()
    used = set(re.findall(r'=~\\"\$(\w+)\\"', text))
    assert used == set(board.variables)


@pytest.fixture(scope="module")
def live(watched: Watched) -> Watched:
    """Return a Prometheus that scrapes a service under traffic."""
    for number in range(4):
        watched.send(3)
        watched.service.client.post("/token", data={"username": f"u{number}", "password": "wrong"})
    return watched


@pytest.mark.slow
@pytest.mark.xdist_group("monitoring")
@EACH_PANEL
def test_a_panel_is_not_empty_under_traffic(panel: dict[str, Any], live: Watched) -> None:
    values = [float(each["value"][1]) for expr in expressions(panel) for each in live.prometheus.query(expr)]
    assert [value for value in values if not math.isnan(value)]


@pytest.mark.slow
@pytest.mark.xdist_group("monitoring")
@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_variables_have_values(board: Board, live: Watched) -> None:
    for variable in json.loads(board.text())["templating"]["list"]:
        metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()  # type: ignore[union-attr]  # a failure here is one of the test
        assert any(each["metric"][label] for each in live.prometheus.query(metric))
