"""Alertmanager's configuration as start.sh writes it."""

import json
import subprocess
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring import alerts
from monitoring.timing import LIMITS, PRODUCTION
from tests.monitoring.programs import run, succeeds

START = Path("monitoring/alertmanager/start.sh")
ALERTS = alerts.alerts(PRODUCTION, LIMITS)
SECRET = "https://hooks.example/T000/secret"
Render = Callable[..., str]


def _print(root: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(root / START), "--print"]
    path = {"PATH": "/usr/bin:/bin"}
    return subprocess.run(command, env=path | environment, capture_output=True, text=True, check=False)


@pytest.fixture
def environments(tmp_path: Path) -> dict[str, dict[str, str]]:
    """Return the environment for each kind of receiver."""
    for name in ("password", "slack", "token"):
        (tmp_path / name).write_text(SECRET)
    email = {"ALERT_EMAIL_TO": "ops@example.org", "SMTP_SMARTHOST": "mail.example:587", "SMTP_FROM": "ml@example.org",
             "SMTP_USERNAME": "ml", "SMTP_PASSWORD_FILE": str(tmp_path / "password")}  # fmt: skip
    slack = {"ALERT_SLACK_URL_FILE": str(tmp_path / "slack"), "ALERT_SLACK_CHANNEL": "#it's"}
    webhook = {
        "ALERT_WEBHOOK_URL": "http://127.0.0.1:9/hook",
        "ALERT_WEBHOOK_TOKEN_FILE": str(tmp_path / "token"),
    }
    return {"email": email, "slack": slack, "webhook": webhook}


@pytest.mark.parametrize("chosen", list(product([False, True], repeat=3)), ids=str)
def test_each_choice_of_receivers_is_valid_and_contains_no_secret(
    chosen: tuple[bool, ...], environments: dict[str, dict[str, str]], root: Path, tmp_path: Path
) -> None:
    kinds = [kind for kind, wanted in zip(environments, chosen, strict=True) if wanted]
    done = _print(root, {key: value for kind in kinds for key, value in environments[kind].items()})
    assert SECRET not in done.stdout
    (tmp_path / "config.yml").write_text(done.stdout)
    assert "2 receivers" in succeeds("amtool", "check-config", tmp_path / "config.yml")
    for receiver in yaml.safe_load(done.stdout)["receivers"]:
        assert receiver.keys() == {"name", *(f"{kind}_configs" for kind in kinds)}


def test_warnings_may_go_elsewhere(environments: dict[str, dict[str, str]], root: Path) -> None:
    both = environments["slack"] | environments["webhook"]
    done = _print(root, both | {"ALERT_CRITICAL_TO": "webhook", "ALERT_WARNING_TO": "slack"})
    critical, warning = yaml.safe_load(done.stdout)["receivers"]
    assert (critical.keys(), warning.keys()) == ({"name", "webhook_configs"}, {"name", "slack_configs"})


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"ALERT_EMAIL_TO": "ops@example.org"}, "ALERT_EMAIL_TO needs SMTP_SMARTHOST and SMTP_FROM"),
        ({"ALERT_SLACK_URL_FILE": "/nowhere"}, "ALERT_SLACK_URL_FILE: cannot read /nowhere"),
        ({"ALERT_WARNING_TO": "pigeon"}, "pigeon is no receiver; there are email, slack and webhook"),
    ],
)
def test_a_mistake_is_reported_in_one_line(environment: dict[str, str], expected: str, root: Path) -> None:
    done = _print(root, environment)
    assert (done.returncode, done.stderr.splitlines()) == (1, [f"start.sh: {expected}"])


@pytest.fixture
def config(root: Path, tmp_path: Path) -> Path:
    """Return a configuration file."""
    path = tmp_path / "config.yml"
    path.write_text(_print(root, {"ALERT_WEBHOOK_URL": "http://127.0.0.1:9/hook"}).stdout)
    return path


@pytest.mark.parametrize(("severity", "receiver"), [("critical",) * 2, ("warning",) * 2, ("odd", "warning")])
def test_an_alert_goes_to_the_receiver_of_its_severity(severity: str, receiver: str, config: Path) -> None:
    labels = ["alertname=ApiDown", "job=api", f"severity={severity}"]
    assert run("amtool", "config", "routes", "test", f"--config.file={config}", *labels).stdout.split() == [receiver]


def test_inhibitions_name_existing_alerts(config: Path) -> None:
    text = config.read_text()
    names = {
        name
        for rule in yaml.safe_load(text)["inhibit_rules"]
        for matcher in rule["source_matchers"] + rule["target_matchers"]
        for name in matcher.partition('"')[2].rstrip('"').split("|")
    }
    assert names <= {alert.name for alert in ALERTS}


def test_messages_have_summary_and_links(root: Path) -> None:
    annotations = ALERTS[0].rule(alerts.RUNBOOK, alerts.GRAFANA)["annotations"]
    data: dict[str, Any] = {
        "status": "firing",
        "commonLabels": {"severity": "critical"},
        "alerts": [
            {"status": "firing", "annotations": annotations, "startsAt": "2026-01-02T03:04:05Z"} for _ in range(2)
        ],
    }
    template = f"--template.glob={root / START.parent / 'message.tmpl'}"
    title, text = (
        succeeds("amtool", "template", "render", template, f'--template.text={{{{ template "alert.{part}" . }}}}',
                 "--template.data=/dev/stdin", stdin=json.dumps(data))
        for part in ("title", "text")
    )  # fmt: skip
    assert title.strip() == "[CRITICAL] The prediction API is down (and 1 more)"
    assert (
        text.count("What to do: docs/reference/runbook.md#apidown\nDashboard: http://localhost:3000/d/service\n") == 2
    )
    assert "Since 2026-01-02 03:04:05 UTC" in text
