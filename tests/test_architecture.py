"""Rules that neither a linter nor a type checker can enforce."""

import ast
import re
import subprocess
from pathlib import Path
from typing import Any

import grimp
import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
KEYS = ["desc", "cmd", "deps", "params", "metrics", "outs"]


def read_yaml(name: str) -> Any:
    return YAML(typ="safe", pure=True).load((ROOT / name).read_text(encoding="utf-8"))


STAGES: dict[str, dict[str, Any]] = read_yaml("dvc.yaml")["stages"]


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("stages", "service", cache_dir=None)


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def dependency_of(module: str) -> str:
    """Return the entry in dvc.yaml for a module: its package's folder, or its file if it isn't in a package."""
    top, name = module.split(".")[:2]
    return f"{top}/{name}" if (ROOT / top / name).is_dir() else f"{top}/{name}.py"


def stage_lines(stage: str) -> list[str]:
    """Return a stage's lines in dvc.yaml."""
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    found = re.search(rf"^  {stage}:\n(?:    .*\n)+", text, re.MULTILINE)
    assert found
    return found.group().splitlines()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_code_it_imports(stage: str, imports: grimp.ImportGraph) -> None:
    main = f"stages.{stage}.__main__"
    imported = {main, *imports.find_upstream_modules(main)} - {"stages", "service"}

    code = {dep for dep in STAGES[stage]["deps"] if dep.startswith(("stages/", "service/"))}

    assert code == {dependency_of(module) for module in imported}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_described_in_at_most_12_lines_with_keys_in_one_order(stage: str) -> None:
    keys = list(STAGES[stage])

    assert keys[:2] == ["desc", "cmd"]
    assert keys == sorted(keys, key=KEYS.index)
    assert len(stage_lines(stage)) <= 12


@pytest.mark.parametrize("stage", STAGES)
def test_the_lock_holds_the_parameters_that_the_stage_names(stage: str) -> None:
    # DVC does not notice a parameter that was taken out of dvc.yaml (dvc#9913).
    locked = read_yaml("dvc.lock")["stages"][stage].get("params", {}).get("params.yaml", {})

    assert sorted(locked) == sorted(STAGES[stage].get("params", []))


def test_importing_a_package_runs_no_code() -> None:
    for path in tracked("stages/**/__init__.py", "service/__init__.py"):
        statements = ast.parse(path.read_text(encoding="utf-8")).body
        assert [type(statement) for statement in statements[1:]] == [], path


def test_every_parameter_says_what_it_means() -> None:
    lines = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()

    silent = [line for line in lines if re.match(r"\s*\w+:\s*\S", line) and " # " not in line]

    assert silent == []


def test_no_file_names_the_host_of_a_package_index() -> None:
    index = re.compile(
        r"(?<!no-emit-)\b(extra-)?index[-_]url|find-links|trusted[-_]host|\bpypi\.[a-z]+/|python" + r"hosted\.org",
        re.IGNORECASE,
    )
    here = Path(__file__)

    naming = [path for path in tracked() if path != here and index.search(path.read_text("utf-8", errors="replace"))]

    assert naming == []


@pytest.mark.parametrize("group", ["service", "pipeline", "dev"])
def test_lock_files_hold_one_version_and_hashes_for_each_package(group: str) -> None:
    lines = (ROOT / f"requirements/{group}.txt").read_text(encoding="utf-8").splitlines()
    required = [line for line in lines if line and not line.startswith((" ", "#"))]

    assert [line for line in required if not re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+ (; .* )?\\$", line)] == []
    assert not any("://" in line for line in lines)


@pytest.mark.parametrize(("part", "whole"), [("service", "pipeline"), ("pipeline", "dev")])
def test_lock_files_agree(part: str, whole: str) -> None:
    pins = {
        name: set(re.findall(r"^\S+==\S+", (ROOT / f"requirements/{name}.txt").read_text("utf-8"), re.MULTILINE))
        for name in (part, whole)
    }

    assert pins[part] <= pins[whole]


def test_make_explains_each_target_in_one_line_of_a_group() -> None:
    groups = (ROOT / "Makefile").read_text(encoding="utf-8").split("\n##@ ")
    targets = [re.findall(r"^([a-z-]+):(?!=)(?:.* ## (.*))?", group, re.MULTILINE) for group in groups]

    assert [name for name, _ in targets[0]] == ["help"]
    assert all(0 < len(group) <= 9 for group in targets[1:])
    assert all(0 < len(text) <= 90 for group in targets[1:] for _, text in group)


def test_no_python_file_is_longer_than_300_lines() -> None:
    assert [path for path in tracked("*.py") if len(path.read_text(encoding="utf-8").splitlines()) > 300] == []
