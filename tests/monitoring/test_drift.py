"""PSI computed by Prometheus, compared with NumPy's from the same rows."""

import time
from pathlib import Path

import numpy as np
import pytest

from monitoring.timing import LIMITS, PRODUCTION, SHORT
from tests.monitoring.conftest import Watched
from tests.monitoring.programs import succeeds
from tests.monitoring.world import Rows, prometheus, psi, shares
from tests.service.processes import free_port, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("monitoring")]

MINUTE = 60
LABELS = 'job="api",instance="a",version="v1",feature="x"'


def _all(watched: Watched) -> Rows:
    return {name: np.concatenate([rows[name] for rows in watched.caller.sent]) for name in watched.caller.sent[0]}


@pytest.mark.parametrize("window", ["1h", "24h"])
@pytest.mark.parametrize("feature", ["size", "noise", "shop", "flag"])
def test_psi_of_real_rows_equals_numpys(watched: Watched, feature: str, window: str) -> None:
    expected = psi(*shares(watched.contract, feature, _all(watched)[feature]), LIMITS.share_floor)
    found = watched.prometheus.value(f'feature:psi:{window}{{feature="{feature}"}}')
    assert found == pytest.approx(expected, abs=1e-6)


def test_drift_in_one_feature_shows_only_there(watched: Watched) -> None:
    above = watched.prometheus.query(f"feature:psi:1h > {LIMITS.psi}")
    assert [each["metric"]["feature"] for each in above] == ["noise"]


def test_psi_of_the_score_equals_numpys_with_the_nearer_reference(watched: Watched) -> None:
    answers = {each["metric"]["bin"]: float(each["value"][1]) for each in watched.prometheus.query("score:share:1h")}
    found = []
    for rows in ("test", "training"):
        asked = watched.prometheus.query(f'score_reference_share{{rows="{rows}"}}')
        reference = {each["metric"]["bin"]: float(each["value"][1]) for each in asked}
        found.append(psi([answers[name] for name in reference], list(reference.values()), LIMITS.share_floor))
    assert watched.prometheus.value("score:psi:1h") == pytest.approx(min(found), abs=1e-6)


def _history(now: int, counts: dict[str, list[tuple[int, int]]], reference: dict[str, float]) -> str:
    """Return counters that increase some minutes before now, as OpenMetrics text."""
    lines = ["# TYPE feature_rows counter"]
    moments = range(now - 120 * MINUTE, now + 1, 15)
    for name, steps in counts.items():
        for moment in moments:
            value = sum(rows for minutes, rows in steps if moment >= now - minutes * MINUTE)
            lines.append(f'feature_rows_total{{{LABELS},bin="{name}"}} {value} {moment}')
    lines.append("# TYPE feature_reference_share gauge")
    for name, share in reference.items():
        lines += [f'feature_reference_share{{{LABELS},bin="{name}"}} {share} {moment}' for moment in moments]
    return "\n".join([*lines, "# EOF", ""])


def test_rows_leave_the_short_window_after_an_hour_and_stay_in_the_long_one(tmp_path: Path) -> None:
    reference = {"a": 0.25, "b": 0.5, "c": 0.25, "missing": 0.0}
    counts = {"a": [(100, 7), (30, 300)], "b": [(90, 900), (20, 41)], "c": [(61, 3), (59, 100)], "missing": [(30, 9)]}
    now = int(time.time())
    (tmp_path / "history.txt").write_text(_history(now, counts, reference))
    succeeds("promtool", "tsdb", "create-blocks-from", "openmetrics", tmp_path / "history.txt", tmp_path / "at/data")
    within = {
        "1h": [sum(rows for minutes, rows in steps if minutes < 60) for steps in counts.values()],
        "24h": [sum(rows for _, rows in steps) for steps in counts.values()],
    }
    timing = PRODUCTION.__class__(scrape="1s", evaluation=SHORT.evaluation, daily_evaluation=SHORT.evaluation)
    with prometheus(tmp_path / "at", free_port(), timing=timing) as made:
        for window, rows in within.items():
            expected = psi([each / sum(rows) for each in rows], list(reference.values()), LIMITS.share_floor)
            wait_for(lambda window=window: made.value(f"feature:psi:{window}") is not None, "the rules", 30)
            assert made.value(f"feature:psi:{window}") == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("bins", "rows", "speaks"), [(4, 199, False), (4, 200, True), (12, 239, False), (12, 240, True)]
)
def test_few_rows_give_no_psi(bins: int, rows: int, speaks: bool, tmp_path: Path, root: Path) -> None:
    labels = [f'{{{LABELS},bin="{number}"}}' for number in range(bins)]
    inputs = [f"{{series: 'feature_reference_share{each}', values: \"{1 / bins}x1\"}}" for each in labels]
    rising = [rows, *[0] * (bins - 1)]
    inputs += [
        f"{{series: 'feature_rows_total{each}', values: \"0+{more}x1\"}}"
        for each, more in zip(labels, rising, strict=True)
    ]
    expected = "[{labels: '{}', value: 1}]" if speaks else "[]"
    (tmp_path / "test.yml").write_text(
        f"rule_files: [{root / 'monitoring/prometheus/rules/recording.yml'}]\n"
        f"tests: [{{interval: 1m, input_series: [{', '.join(inputs)}], promql_expr_test: "
        f"[{{expr: count(feature:psi:1h), eval_time: 1m, exp_samples: {expected}}}]}}]\n"
    )
    succeeds("promtool", "test", "rules", tmp_path / "test.yml")
