"""What is committed is what the code writes, and Prometheus takes it."""

import re
from pathlib import Path

import pytest
import yaml

from monitoring import alerts, generate, rules
from monitoring.timing import LIMITS, PRODUCTION, SHORT
from tests.monitoring.programs import succeeds

FOLDER = Path("monitoring/prometheus")


@pytest.mark.parametrize("name", generate.rule_files())
def test_committed_rules_are_those_that_the_code_writes(name: str, root: Path) -> None:
    assert (root / FOLDER / "rules" / name).read_text(encoding="utf-8") == generate.rule_files()[name]


def test_prometheus_takes_configuration_and_rules(root: Path) -> None:
    assert "2 rule files found" in succeeds("promtool", "check", "config", root / FOLDER / "prometheus.yml")


def test_short_windows_change_durations_alone(tmp_path: Path) -> None:
    def shape(text: str) -> list[str]:
        return re.sub(r"\b\d+(\.\d+)?[smh]\b", "T", text).splitlines()

    for name, text in generate.rule_files(timing=SHORT).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert shape(text) == shape(generate.rule_files()[name])
        succeeds("promtool", "check", "rules", tmp_path / name)


def test_links_lead_where_they_are_told_to(tmp_path: Path) -> None:
    text = generate.rule_files(runbook="https://wiki.example/ml", grafana="https://grafana.example")["alerts.yml"]
    found = [rule["annotations"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    assert {each["dashboard_url"].rsplit("/", 1)[0] for each in found} == {"https://grafana.example/d"}
    assert all(each["runbook_url"].startswith("https://wiki.example/ml#") for each in found)


def test_a_value_is_not_stale_before_its_next_evaluation() -> None:
    """Prometheus looks back 5 minutes; a rule evaluated more seldom would blink."""
    seconds = {"s": 1, "m": 60}
    for group in [*rules.groups(PRODUCTION, LIMITS), *alerts.groups(PRODUCTION, LIMITS)]:
        number, unit = re.fullmatch(r"(\d+)([sm])", group["interval"]).groups()  # type: ignore[union-attr]  # a failure here is one of the test
        assert int(number) * seconds[unit] < 300
