"""README's section on a table of one's own, typed as it stands, with a table that is nothing like the demo's."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

pytestmark = pytest.mark.slow
SECTION = "## Your own table in five minutes"


def section(root: Path) -> str:
    """README's section, up to the next one."""
    return (root / "README.md").read_text(encoding="utf-8").partition(SECTION)[2].partition("\n## ")[0]


def commands(root: Path) -> list[list[str]]:
    """What the section's console block has one type; the test's PATH stands for `source`."""
    block = section(root).partition("```console\n")[2].partition("```")[0]
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    return [line for line in lines if line and line[0] != "source"]


def wines(rows: int = 120) -> pd.DataFrame:
    """A table of three kinds, with the names that people really give their columns."""
    rng = np.random.default_rng(1)
    acid, sugar = rng.normal(7, 1, rows).round(2), rng.gamma(2, 3, rows).round(1)
    kind = np.select([acid > 7.4, sugar > 6], ["Säuerlich", "süß, lieblich"], "class")
    origin = rng.choice(["Mosel", "Côte d'Or", "Wachau"], rows)
    return pd.DataFrame(
        {
            "fixed acidity (g/l)": acid,
            "1st.sugar": sugar,
            "import": origin,
            "le": rng.integers(0, 9, rows),
            "Güte": kind,
        }
    )


@pytest.fixture(scope="module")
def followed(project: Callable[..., Any], root: Path) -> Any:
    """Give a project in which the section was followed: table, params.yaml, commands."""
    made = project()
    wines().to_csv(made.path / "data/mine.csv", index=False, sep=";")
    made.set(data={"path": "data/mine.csv", "target": "Güte"}, split={"method": "random"}, validate={"suite": None})
    for command in commands(root):
        made.ok(*command)
    return made


def test_the_section_names_the_keys_that_the_test_edits(root: Path) -> None:
    for key in ("`data.path`", "`data.target`", "`split.method: random`", "`validate.suite: null`"):
        assert key in section(root)


def test_the_section_followed_gives_a_model_of_the_table(followed: Any) -> None:
    schema = YAML(typ="safe", pure=True).load((followed.path / "data/prepared/schema.json").read_text(encoding="utf-8"))

    assert (followed.path / "models/model.onnx").is_file()
    assert schema["contract"]["task"] == "multiclass"
    assert {feature["name"] for feature in schema["contract"]["features"]} == {*wines().columns} - {"Güte"}


def test_the_section_followed_leaves_git_clean(followed: Any) -> None:
    assert followed.ok("git", "status", "--short") == ""


def test_the_section_followed_commits_pointers_and_no_data(followed: Any) -> None:
    committed = followed.ok("git", "ls-files").splitlines()

    assert {"data/mine.csv.dvc", "data/.gitignore", "dvc.lock", "metrics/metrics.json"} <= {*committed}
    assert "data/mine.csv" not in committed
    assert not [name for name in committed if name.endswith((".parquet", ".joblib", ".onnx"))]


def test_a_table_lost_after_the_commit_comes_back_by_checkout(followed: Any) -> None:
    before = (followed.path / "data/mine.csv").read_bytes()
    (followed.path / "data/mine.csv").unlink()
    followed.ok("dvc", "checkout")

    assert (followed.path / "data/mine.csv").read_bytes() == before


def test_a_table_imported_by_dvc_and_updated_goes_through_the_pipeline(followed: Any) -> None:
    source = followed.path.parent / "source.csv"
    wines().to_csv(source, index=False)
    followed.ok("dvc", "import-url", str(source), "data/imported.csv")
    followed.set(data={"path": "data/imported.csv"})
    wines(150).to_csv(source, index=False)
    followed.ok("dvc", "update", "data/imported.csv.dvc")
    told = followed.run("dvc", "repro", "prepare")

    assert told.returncode == 0, told.stderr
    assert "150 rows and 5 columns read from data/imported.csv" in told.stderr
