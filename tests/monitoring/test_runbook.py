"""The runbook: a section for each alert, and a rollback that works as written."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from monitoring import alerts
from monitoring.alert import Alert
from monitoring.dashboards import BOARDS
from monitoring.timing import LIMITS, PRODUCTION
from service.scoring import artifact
from tests.service.artifacts import Root, onnx_bytes

ALERTS = alerts.alerts(PRODUCTION, LIMITS)


@pytest.fixture(scope="module")
def sections(root: Path) -> dict[str, str]:
    """Return the runbook's sections by their headings."""
    text = (root / alerts.RUNBOOK).read_text(encoding="utf-8")
    found = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_has_a_section_that_answers_four_questions(alert: Alert, sections: dict[str, str]) -> None:
    section = sections[alert.name]
    assert section.startswith(f"*{alert.severity}.*")
    assert all(f"- **{question}:** " in section for question in ("Users", "Check", "Do", "Roll back"))


def test_every_section_is_about_an_existing_alert(sections: dict[str, str]) -> None:
    assert set(sections) == {alert.name for alert in ALERTS} | {"Roll back to the previous release"}


def test_every_panel_in_the_runbook_exists(sections: dict[str, str]) -> None:
    titles = {panel.title for board in BOARDS for panel in board.panels} | {board.title for board in BOARDS}
    named = set(re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", " ".join(" ".join(sections.values()).split())))
    assert named - titles == set()


@pytest.mark.slow
def test_the_rollback_works_as_written(sections: dict[str, str], root: Path, tmp_path: Path) -> None:
    released = Root(tmp_path)
    first, second = (released.write(onnx_bytes(lean)) for lean in (0, 1))
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    environment = os.environ | {"RELEASES": str(released.releases), "MLFLOW_TRACKING_URI": store}
    written = re.search(r"```sh\n(.*?)```", sections["Roll back to the previous release"], re.DOTALL)
    assert written

    done = subprocess.run(
        ["bash", "-ec", written[1]], cwd=root, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert artifact.load(released.settings()).model.version == first != second
