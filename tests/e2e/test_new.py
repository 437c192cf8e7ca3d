"""A project of one's own, made from this repository."""

import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.e2e.conftest import Project, _environment, small_table

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("new")]
Make = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a table in it, homes.csv."""
    folder = tmp_path_factory.mktemp("new")
    small_table().rename(columns={"y": "sold"}).to_csv(folder / "homes.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def environment(folder: Path) -> dict[str, str]:
    return _environment(folder / "home")


@pytest.fixture(scope="module")
def make(folder: Path, root: Path, environment: dict[str, str]) -> Make:
    """Return a function that runs the command in this repository."""

    return lambda *arguments: Project(root, environment).run("python", "-m", "stages.commands.new", *arguments)


@pytest.fixture(scope="module")
def made(folder: Path, make: Make, environment: dict[str, str]) -> Project:
    """Return a new project of homes.csv."""
    done = make("home-sales", str(folder / "sales"), "--table", str(folder / "homes.csv"), "--target", "sold")
    assert done.returncode == 0, done.stderr
    return Project(folder / "sales", environment)


@pytest.fixture(scope="module")
def reproduced(made: Project) -> Project:
    """Return the project after its first run of the pipeline."""
    made.ok("dvc", "repro")
    return made


def test_the_new_project_is_one_clean_commit_with_a_table_that_dvc_keeps(made: Project) -> None:
    tracked = made.ok("git", "ls-files").splitlines()

    assert made.ok("git", "log", "--format=%s").splitlines() == ["Start home-sales with homes.csv"]
    assert made.ok("git", "status", "--short") == ""
    assert "data/homes.csv.dvc" in tracked
    assert "data/homes.csv" not in tracked


def test_nothing_of_the_demo_is_left(made: Project) -> None:
    words = r"flights\.(parquet|json)|nycflights|stages[./]ingest|# .*\bdemo\b"

    assert made.run("git", "grep", "-n", "-E", words, "--", ".", ":!docs/**.md", ":!tests").stdout == ""


def test_the_settings_are_the_tables_and_keep_their_explanations(made: Project, root: Path) -> None:
    text = (made.path / "params.yaml").read_text(encoding="utf-8")
    params = YAML(typ="safe", pure=True).load(text)

    assert params["data"]["path"] == "data/homes.csv"
    assert params["data"]["target"] == "sold"
    assert params["split"]["method"] == "random"
    assert params["features"] == {}
    assert params["validate"]["suite"] is None
    assert params["register"]["name"] == "home-sales"
    before = (root / "params.yaml").read_text(encoding="utf-8")
    assert text.count("  # ") > 0.9 * before.count("  # ")


@pytest.mark.long
def test_the_first_run_of_the_pipeline_gives_a_release(reproduced: Project) -> None:
    reproduced.ok("python", "-m", "stages.commands.promote")

    assert (reproduced.path / "models/releases/current/model.onnx").is_file()
    assert "home-sales" in (reproduced.path / "models/releases/current/release.json").read_text(encoding="utf-8")
    reproduced.ok("git", "add", "--all")
    reproduced.ok("git", "commit", "--quiet", "--message", "Train the first model")
    assert "Data and pipelines are up to date" in reproduced.ok("dvc", "status")


@pytest.mark.long
def test_its_own_tests_know_its_pipeline(reproduced: Project) -> None:
    reproduced.ok("ruff", "check", "--quiet")
    reproduced.ok(
        "pytest", "-q", "-p", "no:cacheprovider", "tests/test_architecture.py", "tests/containers/test_files.py"
    )


def test_on_a_terminal_it_asks_for_table_and_target_and_names_a_command_that_works(
    folder: Path, root: Path, environment: dict[str, str]
) -> None:
    terminal, stdin = pty.openpty()
    os.write(terminal, f"{folder}/homes.csv\nsold\n".encode())
    command = ["python", "-m", "stages.commands.new", "asked", str(folder / "as asked")]
    done = subprocess.run(command, cwd=root, env=environment, stdin=stdin, capture_output=True, text=True, check=False)
    os.close(stdin)
    os.close(terminal)

    assert done.returncode == 0, done.stderr
    assert "The table (CSV or Parquet): The column to predict (a, b, c, sold): " in done.stdout
    enter = done.stderr.partition("next: `")[2].partition(" && make repro`")[0]
    assert subprocess.check_output(["sh", "-c", f"{enter} && cat data/*.dvc"], text=True).endswith("path: homes.csv\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["", ""], "give the project a name and a folder"),
        (["9lives", "{new}"], "the name '9lives' must begin with a letter"),
        (["x", "{here}"], "exists and is not an empty folder"),
        (["x", "{root}/inside"], "is inside this repository"),
        (["x", "{here}/a/b"], "there is no folder"),
        (["x", "{new}"], "name the table (CSV or Parquet) with --table"),
        (["x", "{new}", "--table", "{here}/none.csv"], "there is no such file"),
        (["x", "{new}", "--table", "{here}/broken.parquet"], "is a damaged Parquet file"),
        (["x", "{new}", "--table", "{here}/homes.csv"], "name the column to predict (a, b, c, sold) with --target"),
        (["x", "{new}", "--table", "{here}/homes.csv", "--target", "y"], "has no column 'y'; it has a, b, c, sold"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    arguments: list[str], message: str, make: Make, folder: Path, root: Path
) -> None:
    (folder / "broken.parquet").write_bytes(b"PAR1")
    before = sorted(folder.iterdir())

    done = make(*(each.format(here=folder, new=folder / "other", root=root) for each in arguments))

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert sorted(folder.iterdir()) == before
    assert not (root / "inside").exists()


def test_a_commit_that_fails_leaves_nothing(folder: Path, root: Path, environment: dict[str, str]) -> None:
    named = {name: value for name, value in environment.items() if not name.startswith(("GIT_AUTHOR", "GIT_COMMITTER"))}
    (folder / "home/.gitconfig").write_text("[user]\n\tuseConfigOnly = true\n", encoding="utf-8")
    before = sorted(folder.iterdir())
    arguments = ["x", str(folder / "other"), "--table", str(folder / "homes.csv"), "--target", "sold"]
    done = Project(root, named).run("python", "-m", "stages.commands.new", *arguments)

    assert done.returncode == 1
    assert "`git commit` failed" in done.stderr
    assert sorted(folder.iterdir()) == before
