"""What the service exports: names, units, bounds; and that rules rest on it alone."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.monitoring.programs import succeeds
from tests.monitoring.world import draw, instances
from tests.service.processes import Service

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("monitoring")]

FROM_PROMETHEUS = {"up"}
_STRINGS = re.compile(r'"[^"]*"')
_GROUPING = re.compile(r"\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)")
_NAME = re.compile(r"\b[a-z_][a-z0-9_]*(?::[a-z0-9_]+)*\b(?!\s*\()")
_WORDS = {"and", "or", "unless", "offset", "bool", "by", "on", "job", "le"}


def names(expr: str) -> set[str]:
    """Give the metrics that an expression uses."""
    bare = _GROUPING.sub("", re.sub(r"\{[^}]*\}|\[[^]]*\]|\boffset \w+", "", _STRINGS.sub("", expr)))
    return {each for each in _NAME.findall(bare) if each not in _WORDS and not re.fullmatch(r"e\d*", each)}


def rules(root: Path) -> list[dict[str, str]]:
    files = (root / "monitoring/prometheus/rules").glob("*.yml")
    documents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in files]
    return [rule for document in documents for group in document["groups"] for rule in group["rules"]]


def exported(service: Service) -> set[str]:
    """Give the names of all samples."""
    lines = service.client.get("/metrics").text.splitlines()
    return {re.match(r"\w+", line)[0] for line in lines if line[0] != "#"}  # type: ignore[index]  # each line has one


def test_names_are_found_in_an_expression() -> None:
    expr = 'sum by (job) (rate(a_total{x="b"}[5m] offset 1h)) > 1e-4 and on (job, le) level:c:d_1h == bool 2'
    assert names(expr) == {"a_total", "level:c:d_1h"}


def test_rules_use_what_the_service_exports_and_each_other_alone(root: Path, service: Service) -> None:
    found = rules(root)
    known = exported(service) | {rule["record"] for rule in found if "record" in rule} | FROM_PROMETHEUS
    used = set().union(*(names(rule["expr"]) for rule in found))
    assert used - known == set()
    assert "feature_rows_total" in used


def test_promtool_finds_nothing_to_say_about_the_metrics(service: Service) -> None:
    assert not succeeds("promtool", "check", "metrics", stdin=service.client.get("/metrics").text)


def test_no_caller_can_make_a_series(service: Service) -> None:
    """Paths, methods, names and values nobody knows; tokens and users that there are not."""

    def series() -> int:
        lines = service.client.get("/metrics").text.splitlines()
        return sum(not line.startswith("#") for line in lines)

    (row,) = instances(draw(np.random.default_rng(0), 1))
    before = series()
    for number in range(30):
        service.client.request(f"M{number}", f"/path/{number}", headers={"X-Forwarded-Host": f"h{number}"})
        service.client.get(f"/v2/models/m{number}/versions/{number}")
        service.client.post("/predict", json={"instances": [row | {"shop": f"s{number}", f"f{number}": 1}]})
        service.client.post("/predict", json={"instances": []}, headers={"Authorization": f"Bearer {number}"})
        service.client.post("/token", data={"username": f"u{number}", "password": "x"})
    assert series() == before
