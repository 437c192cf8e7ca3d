"""The exported metrics, and that rules use no others."""

import re
from pathlib import Path

import pytest
import yaml

from tests.monitoring.programs import succeeds
from tests.service.processes import Service

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("monitoring")]

FROM_PROMETHEUS = {"up"}
_STRINGS = re.compile(r'"[^"]*"')
_GROUPING = re.compile(r"\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)")
_NAME = re.compile(r"\b[a-z_][a-z0-9_]*(?::[a-z0-9_]+)*\b(?!\s*\()")
_WORDS = {"and", "or", "unless", "offset", "bool", "by", "on", "job", "le"}


def names(expr: str) -> set[str]:
    """Return the metrics in an expression."""
    bare = _GROUPING.sub("", re.sub(r"\{[^}]*\}|\[[^]]*\]|\boffset \w+", "", _STRINGS.sub("", expr)))
    return {each for each in _NAME.findall(bare) if each not in _WORDS and not re.fullmatch(r"e\d*", each)}


def rules(root: Path) -> list[dict[str, str]]:
    files = (root / "monitoring/prometheus/rules").glob("*.yml")
    documents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in files]
    return [rule for document in documents for group in document["groups"] for rule in group["rules"]]


def exported(service: Service) -> set[str]:
    """Return the names of all samples."""
    lines = service.client.get("/metrics").text.splitlines()
    return {re.match(r"\w+", line)[0] for line in lines if line[0] != "#"}  # type: ignore[index]  # each line has one


def test_rules_use_only_exported_metrics_and_recorded_ones(root: Path, service: Service) -> None:
    found = rules(root)
    known = exported(service) | {rule["record"] for rule in found if "record" in rule} | FROM_PROMETHEUS
    used = set().union(*(names(rule["expr"]) for rule in found))
    assert used - known == set()
    assert "feature_rows_total" in used


def test_promtool_reports_no_problem_with_the_metrics(service: Service) -> None:
    assert not succeeds("promtool", "check", "metrics", stdin=service.client.get("/metrics").text)
