"""The workflows: pinned actions, least permissions, existing targets."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

FOLDER = Path(__file__).parents[2] / ".github/workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    return loaded


@each_workflow
def test_every_action_is_pinned_to_a_commit_and_names_its_version(path: Path) -> None:
    used = re.findall(r"uses: (.*)", path.read_text("utf-8"))

    assert used
    assert not [line for line in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)]


@each_workflow
def test_a_job_has_its_own_permissions_and_a_timeout_and_keeps_no_token(path: Path) -> None:
    workflow = load(path)
    checkouts = [
        step
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if step.get("uses", "").startswith("actions/checkout")
    ]

    assert workflow["permissions"] == {}
    assert all(job["permissions"]["contents"] in {"read", "write"} for job in workflow["jobs"].values())
    assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@each_workflow
def test_a_job_that_may_write_contents_runs_no_package(path: Path) -> None:
    writers = [job for job in load(path)["jobs"].values() if job["permissions"]["contents"] == "write"]
    steps = [step for job in writers for step in job["steps"]]

    assert not [step for step in steps if re.search(r"\b(make|python|pip|uv|dvc)\b", step.get("run", "").split("#")[0])]
    assert {step["uses"].split("@")[0] for step in steps if "uses" in step} <= {"actions/checkout"}


@each_workflow
def test_the_makefile_has_every_target_that_a_workflow_calls(path: Path) -> None:
    makefile = (FOLDER.parents[1] / "Makefile").read_text("utf-8")
    called = set(re.findall(r"make ([a-z/-]+) PYTHON", path.read_text("utf-8")))

    assert not [target for target in called if not re.search(rf"^{target}:", makefile, re.MULTILINE)]


@pytest.mark.skipif(
    not shutil.which("check-jsonschema"), reason="check-jsonschema IS NOT INSTALLED: no schema was held"
)
@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", WORKFLOWS),
        ("dependabot", [FOLDER.parent / "dependabot.yml"]),
        ("compose-spec", [FOLDER.parents[1] / "docker-compose.yml", FOLDER.parents[1] / "deploy/compose.tracing.yml"]),
    ],
)
def test_every_file_fits_its_schema(schema: str, files: list[Path]) -> None:
    done = subprocess.run(
        ["check-jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, files)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not shutil.which("zizmor"), reason="zizmor IS NOT INSTALLED: the workflows were not audited")
def test_an_audit_of_the_workflows_finds_nothing() -> None:
    audit = ["zizmor", "--quiet", "--offline", "--persona", "pedantic", str(FOLDER.parent)]
    done = subprocess.run(audit, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_every_python_of_the_locks_is_checked() -> None:
    assert load(FOLDER / "check.yml")["jobs"]["check"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
