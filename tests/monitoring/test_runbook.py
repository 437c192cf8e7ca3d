"""The runbook: a section for each alert, and a way back that works as written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from monitoring import alerts
from monitoring.alert import Alert
from monitoring.dashboards import BOARDS
from monitoring.timing import LIMITS, PRODUCTION
from service.scoring import artifact
from service.settings import Settings
from tests.monitoring.world import make_artifact

ALERTS = alerts.alerts(PRODUCTION, LIMITS)
SECRET = "a-secret-for-tests-of-32-bytes-or-more"


@pytest.fixture(scope="module")
def sections(root: Path) -> dict[str, str]:
    """Give the runbook's sections by their headings."""
    text = (root / alerts.RUNBOOK).read_text(encoding="utf-8")
    found = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_has_a_section_that_answers_four_questions(alert: Alert, sections: dict[str, str]) -> None:
    section = sections[alert.name]
    assert section.startswith(f"*{alert.severity}.*")
    assert all(f"- **{question}:** " in section for question in ("Users", "See it", "First", "Back"))


def test_no_section_is_about_an_alert_that_is_gone(sections: dict[str, str]) -> None:
    assert set(sections) == {alert.name for alert in ALERTS} | {"Going back to the model before"}


def test_panels_that_the_runbook_names_are_there(sections: dict[str, str]) -> None:
    titles = {panel.title for board in BOARDS for panel in board.panels} | {board.title for board in BOARDS}
    named = set(re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", " ".join(" ".join(sections.values()).split())))
    assert named - titles == set()


def _run(folder: Path, command: str) -> None:
    done = subprocess.run(["bash", "-ec", command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _version(folder: Path) -> str:
    return artifact.load(Settings(secret_key=SECRET, model_path=folder / "models/model.onnx")).version


@pytest.mark.slow
def test_the_way_back_works_as_written(
    sections: dict[str, str], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{Path('/usr/bin')}:{Path('/bin')}")
    stages = {
        "export": {"cmd": "cp new.onnx models/model.onnx", "deps": ["new.onnx"], "outs": ["models/model.onnx"]},
        "evaluate": {
            "cmd": "cp new.json metrics/metrics.json",
            "deps": ["models/model.onnx", "new.json"],
            "metrics": [{"metrics/metrics.json": {"cache": False}}],
        },
    }
    _run(tmp_path, "git init -q && dvc init -q && mkdir models metrics")
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    versions = []
    for trees in (5, 6):
        made, _ = make_artifact(tmp_path / f"made{trees}", root, trees)
        made.model.replace(tmp_path / "new.onnx")
        (tmp_path / "new.json").write_text(f'{{"accuracy": 0.{trees}, "threshold": 0.5}}')
        _run(tmp_path, f"dvc repro -q && git add dvc.lock dvc.yaml metrics && git commit -qm {trees}")
        versions.append(_version(tmp_path))
    written = re.search(r"```sh\n(.*?)```", sections["Going back to the model before"], re.DOTALL)
    assert written
    _run(tmp_path, written[1].replace("REV", "HEAD~1"))
    assert _version(tmp_path) == versions[0] != versions[1]
