"""Pictures of the dashboards for the docs."""

import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from matplotlib import image

from monitoring import pictures
from monitoring.board import Board
from monitoring.dashboards import BOARDS
from tests.monitoring.conftest import Watched

MAX_BYTES = 300_000


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.1234, "percentunit", "12.3%"), (0.0042, "s", "4.2 ms"), (7200, "s", "2 h"), (0, "s", "0 s"),
     (1234, "reqps", "1.23k req/s"), (1.7e12, "dateTimeAsIso", "2023-11-14 22:13"), (float("nan"), "short", "–")],
)  # fmt: skip
def test_a_value_is_written_in_its_unit(value: float, unit: str, text: str) -> None:
    assert pictures.shown(value, unit) == text


@pytest.mark.parametrize(
    ("labels", "text"), [({"a": "x", "b": "y"}, "x y"), ({"a": "x"}, "x"), ({"a": "0123456789abcdef" * 2}, "0123456")]
)
def test_a_legend_is_filled_in(labels: Mapping[str, str], text: str) -> None:
    assert pictures.legend("{{a}} {{b}}", labels) == text


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_the_picture_in_the_docs_is_there_and_small(board: Board, root: Path) -> None:
    path = root / "docs/dashboards" / f"{board.uid}.png"
    assert path.stat().st_size < MAX_BYTES
    assert f"({board.uid}.png)" in path.with_name("README.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.xdist_group("monitoring")
def test_a_dashboard_is_drawn_from_what_prometheus_has(watched: Watched, tmp_path: Path) -> None:
    now = time.time()
    chosen = {"$instance": ".*", "$version": ".*", "$feature": "noise"}
    source = pictures.Source(f"http://127.0.0.1:{watched.prometheus.port}", now - 30, now, chosen)
    for board in BOARDS:
        pictures.draw(board, source, tmp_path / f"{board.uid}.png")
        drawn = image.imread(tmp_path / f"{board.uid}.png")
        assert drawn.shape[0] > 300
        assert drawn.std() > 0.05
