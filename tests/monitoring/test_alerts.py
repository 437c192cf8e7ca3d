"""Each alert, tested by promtool just below, at and above its threshold."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring import alerts
from monitoring.timing import LIMITS, PRODUCTION
from tests.monitoring.cases import PREDICT, Case, cases, coverage, unseen
from tests.monitoring.programs import succeeds

RULES = Path("monitoring/prometheus/rules")
CASES = list(cases())
ALERTS = {alert.name: alert for alert in alerts.alerts(PRODUCTION, LIMITS)}
BEFORE_MINUTES = 90


def _values(name: str, phases: Iterable[tuple[dict[str, float], int]]) -> str:
    """Return a series of several phases in promtool's notation."""
    counter, now, parts = re.match(r"\w+_(total|bucket|count)\{", name), 0.0, []
    for world, minutes in phases:
        if name not in world:
            parts.append(f"stale _x{minutes - 1}")
        elif counter:
            parts.append(f"{now}+{world[name]}x{minutes - 1}")
            now += world[name] * minutes
        else:
            parts.append(f"{world[name]}x{minutes - 1}")
    return " ".join(parts)


def _test(case: Case, *phases: tuple[dict[str, float], int], fires: bool, recovers: int = 0) -> dict[str, Any]:
    """Check whether the alert fires after the phases; then `recovers` minutes at the lowest level must end it."""
    end = sum(minutes for _, minutes in phases) - 1
    checks = {end: [_expected(case)] if fires else []}
    if recovers:
        phases, checks[end + recovers] = (*phases, (case.world(case.levels[0]), recovers)), []
    names = {name: None for world, _ in phases for name in world}
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": _values(name, phases)} for name in names],
        "alert_rule_test": [
            {"eval_time": f"{minute}m", "alertname": case.alert, "exp_alerts": alerts}
            for minute, alerts in checks.items()
        ],
    }


def _expected(case: Case) -> dict[str, Any]:
    rule = ALERTS[case.alert].rule(alerts.RUNBOOK, alerts.GRAFANA)
    annotations = {key: _filled(text, case) for key, text in rule["annotations"].items()}
    return {"exp_labels": case.labels | rule["labels"], "exp_annotations": annotations}


def _filled(text: str, case: Case) -> str:
    text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: case.labels[found[1]], text)
    return re.sub(r"\{\{ \$value [^}]*\}\}", case.value, text)


def _rules(root: Path, alert: str) -> list[dict[str, Any]]:
    """Return the groups of the rule files with this alert and what it is computed from: the others take time."""
    groups = [
        group
        for name in ("recording.yml", "alerts.yml")
        for group in yaml.safe_load((root / RULES / name).read_text(encoding="utf-8"))["groups"]
    ]
    expressions = {_name(rule): rule["expr"] for group in groups for rule in group["rules"]}
    needed, found = set[str](), {alert}
    while found - needed:
        needed |= found
        found = {name for name in expressions for each in needed if name in expressions[each]}
    kept = [[rule for rule in group["rules"] if _name(rule) in needed] for group in groups]
    return [group | {"rules": rules} for group, rules in zip(groups, kept, strict=True) if rules]


def _name(rule: dict[str, Any]) -> str:
    return str(rule.get("alert") or rule["record"])


def _check(folder: Path, root: Path, *tests: dict[str, Any]) -> None:
    (alert,) = {check["alertname"] for test in tests for check in test["alert_rule_test"]}
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": _rules(root, alert)}), encoding="utf-8")
    path = folder / "rules.test.yml"
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": list(tests)}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    succeeds("promtool", "test", "rules", path)


def _phases(case: Case, level: float) -> list[tuple[dict[str, float], int]]:
    before = [(case.before(level), BEFORE_MINUTES)] if case.before else []
    return [*before, (case.world(level), case.minutes + 1)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_fires_from_its_threshold_on_and_ends_with_the_cause(case: Case, tmp_path: Path, root: Path) -> None:
    below, at, above = (_phases(case, level) for level in case.levels)
    value_at = {"NoPredictions": "20", "ModelVersionsDiffer": "2"}.get(case.alert, "")
    _check(
        tmp_path,
        root,
        _test(case, *below, fires=False),
        _test(replace(case, value=value_at), *at, fires=case.fires_at),
        _test(case, *above, fires=True, recovers=case.recovery),
    )


def test_every_alert_has_a_case() -> None:
    assert sorted(case.alert for case in CASES) == sorted(ALERTS)


def test_a_service_without_any_target_is_down(tmp_path: Path, root: Path) -> None:
    case = Case("ApiDown", lambda _: {"something": 1}, (0, 0, 0))
    _check(tmp_path, root, _test(case, ({"something": 1}, 10), fires=True))


def test_the_last_day_counts_if_the_hour_has_too_few_rows(tmp_path: Path, root: Path) -> None:
    labels = {"job": "api", "version": "v1", "feature": "size"}
    day = {'feature:psi:24h{job="api",version="v1",feature="size"}': 0.5}
    hour = {'feature:psi:1h{job="api",version="v1",feature="size"}': 0.1}
    case = Case("FeatureDrift", lambda _: {}, (0, 0, 0), labels, "0.50")
    _check(tmp_path, root, _test(case, (day, 20), fires=True), _test(case, (day | hour, 20), fires=False))


@pytest.mark.parametrize(("requests", "fires"), [(3.8, False), (4, True)])
def test_a_few_large_tables_do_not_mean_a_slow_service(
    requests: float, fires: bool, tmp_path: Path, root: Path
) -> None:
    bucket = f"http_request_duration_seconds_bucket{{{PREDICT},le="
    slow = {f'{bucket}"0.5"}}': 0, f'{bucket}"1.0"}}': requests, f'{bucket}"+Inf"}}': requests}
    case = Case("HighLatency", lambda _: {}, (0, 0, 0), {"job": "api"}, "995ms")
    _check(tmp_path, root, _test(case, (slow, 20), fires=fires))


@pytest.mark.parametrize(("rows", "fires"), [(45, False), (50, False), (51, False), (52, True), (60, True)])
def test_unseen_categories_count_above_what_new_rows_have(rows: int, fires: bool, tmp_path: Path, root: Path) -> None:
    labels = {"job": "api", "version": "v1", "feature": "size"}
    case = Case("UnseenValues", lambda level: unseen(level, 0.45), (0, 0, 0), labels, f"{rows - 45}%")
    _check(tmp_path, root, _test(case, (case.world(rows), 80), fires=fires))


@pytest.mark.parametrize(("outside", "fires"), [(1.4, False), (1.6, False), (1.7, True)])
def test_the_coverage_of_few_rows_may_be_low_by_chance(outside: float, fires: bool, tmp_path: Path, root: Path) -> None:
    # In 200 rows, three standard deviations of a share of 0.9 are 0.064.
    labels = {"job": "api", "version": "v1"}
    case = Case("LiveCoverageLow", lambda level: coverage(level, 10.0), (0, 0, 0), labels, "83%")
    _check(tmp_path, root, _test(case, (case.world(outside), 21), fires=fires))


def test_a_restart_of_a_service_with_one_worker_counts(tmp_path: Path, root: Path) -> None:
    scrapes = 'http_requests_total{job="api",instance="a",method="GET",handler="/metrics",status="2xx"}'
    case = Case("ServiceRestarts", lambda _: {}, (0, 0, 0), {"job": "api", "instance": "a"}, "3")
    test = _test(case, ({scrapes: 0}, 12), fires=True)
    test["input_series"][0]["values"] = "1 2 1 2 3 1 2 1 2 3 4 5"
    _check(tmp_path, root, test)
