"""The committed files equal the generated ones, and Prometheus accepts them."""

import re
from pathlib import Path

import pytest
import yaml

from monitoring import alerts, generate, rules
from monitoring.timing import LIMITS, PRODUCTION, SHORT
from tests.monitoring.programs import succeeds

FOLDER = Path("monitoring/prometheus")


@pytest.mark.parametrize("name", generate.rule_files())
def test_committed_rules_equal_the_generated_ones(name: str, root: Path) -> None:
    assert (root / FOLDER / "rules" / name).read_text(encoding="utf-8") == generate.rule_files()[name]


def test_prometheus_accepts_configuration_and_rules(root: Path) -> None:
    assert "2 rule files found" in succeeds("promtool", "check", "config", root / FOLDER / "prometheus.yml")


def test_short_windows_change_only_durations(tmp_path: Path) -> None:
    def shape(text: str) -> list[str]:
        return re.sub(r"\b\d+(\.\d+)?[smh]\b", "T", text).splitlines()

    for name, text in generate.rule_files(timing=SHORT).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert shape(text) == shape(generate.rule_files()[name])
        succeeds("promtool", "check", "rules", tmp_path / name)


def test_links_begin_with_the_given_urls(tmp_path: Path) -> None:
    text = generate.rule_files(runbook="https://wiki.example/ml", grafana="https://grafana.example")["alerts.yml"]
    found = [rule["annotations"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    assert {each["dashboard_url"].rsplit("/", 1)[0] for each in found} == {"https://grafana.example/d"}
    assert all(each["runbook_url"].startswith("https://wiki.example/ml#") for each in found)


def test_a_value_is_not_stale_before_its_next_evaluation() -> None:
    """Prometheus looks back 5 minutes; the value of a rule that is evaluated less often would disappear in between."""
    seconds = {"s": 1, "m": 60}
    for group in [*rules.groups(PRODUCTION, LIMITS), *alerts.groups(PRODUCTION, LIMITS)]:
        number, unit = re.fullmatch(r"(\d+)([sm])", group["interval"]).groups()  # type: ignore[union-attr]  # a failure here is one of the test
        assert int(number) * seconds[unit] < 300
