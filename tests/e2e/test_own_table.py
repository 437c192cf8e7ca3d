"""README's section on your own table, typed as written, without a network, with a table unlike the demo's."""

import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from tests.e2e.conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("own table")]
SECTION = "## Your own table in five minutes"
CUT = ("unshare", "--map-root-user", "--net", "sh", "-c")
SCRIPT = 'ip link set lo up && "$@"; status=$?; grep ^Ip: /proc/net/snmp; exit $status'
"""Runs a command with loopback as its only network, then prints the kernel's counters of that network."""
SILENCERS = (
    "DO_NOT_TRACK",
    "DVC_NO_ANALYTICS",
    "GX_ANALYTICS_ENABLED",
    "MLFLOW_DISABLE_TELEMETRY",
    "ORT_DISABLE_TELEMETRY",
)
"""Variables that the tests set, but a user does not."""
REACH = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"


def section(root: Path) -> str:
    """Return README's section, up to the next one."""
    return (root / "README.md").read_text(encoding="utf-8").partition(SECTION)[2].partition("\n## ")[0]


def commands(root: Path) -> list[list[str]]:
    """Return the commands of the section's console block; the test's PATH replaces `source`."""
    block = section(root).partition("```console\n")[2].partition("```")[0]
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    return [line for line in lines if line and line[0] != "source"]


def wines(rows: int = 120) -> pd.DataFrame:
    """Return a table of three classes, with names that people really give their columns."""
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
            "bottled": [f"{day:02}.{month:02}.2023" for day, month in rng.integers(1, [[29, 13]] * rows)],
            "Güte": kind,
        }
    )


@dataclass(frozen=True)
class Followed:
    """A project after the steps of the section."""

    project: Project
    without_network: bool
    attempts: dict[str, int]
    """Commands that sent packets without a route, including those to name servers, and how many."""


def attempts(output: str) -> int:
    """Return how many packets had no route, from the last lines that `SCRIPT` prints."""
    names, values = (line.split() for line in output.splitlines()[-2:])
    return int(values[names.index("OutNoRoutes")])


@pytest.fixture(scope="module")
def cut() -> tuple[str, ...]:
    """Return the command prefix that cuts off the network; empty if that isn't permitted."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        return ()
    done = subprocess.run([*CUT, "ip link set lo up"], capture_output=True, check=False)
    return () if done.returncode else (*CUT, SCRIPT, "sh")


@pytest.fixture(scope="module")
def followed(project: Callable[..., Project], root: Path, cut: tuple[str, ...]) -> Followed:
    """Follow the section: table, params.yaml, commands."""
    made = project()
    for name in SILENCERS:
        made.environment.pop(name, None)
    wines().to_csv(made.path / "data/mine.csv", index=False, sep=";")
    made.set(data={"path": "data/mine.csv", "target": "Güte"}, split={"method": "random"}, validate={"suite": None})
    made.set(features={})
    outputs = {" ".join(command): made.ok(*cut, *command) for command in commands(root)}
    sent = {command: attempts(output) for command, output in outputs.items()} if cut else {}
    return Followed(made, bool(cut), {command: number for command, number in sent.items() if number})


def test_the_section_names_the_keys_that_the_test_edits(root: Path) -> None:
    for key in ("`data.path`", "`data.target`", "`split.method: random`", "`validate.suite: null`", "`features: {}`"):
        assert key in section(root)


def test_the_section_gives_a_model_and_a_clean_commit_of_pointers_without_data(followed: Followed) -> None:
    path = followed.project.path
    schema = YAML(typ="safe", pure=True).load((path / "data/prepared/schema.json").read_text(encoding="utf-8"))
    committed = followed.project.ok("git", "ls-files").splitlines()

    assert (path / "models/model.onnx").is_file()
    assert schema["contract"]["task"] == "multiclass"
    assert {feature["name"] for feature in schema["contract"]["features"]} == {*wines().columns} - {"Güte"}
    assert followed.project.ok("git", "status", "--short") == ""
    assert {"data/mine.csv.dvc", "data/.gitignore", "dvc.lock", "metrics/metrics.json"} <= {*committed}
    assert "data/mine.csv" not in committed
    assert not [name for name in committed if name.endswith((".parquet", ".joblib", ".onnx"))]


def test_neither_the_pipeline_nor_its_tools_use_the_network(followed: Followed, cut: tuple[str, ...]) -> None:
    if not followed.without_network:
        pytest.skip("NOT TESTED: the pipeline without a network; it needs unshare, ip and a permitted namespace")
    control = subprocess.run([*cut, "python3", "-c", REACH], capture_output=True, text=True, check=False)

    assert attempts(control.stdout) > 0
    assert followed.attempts == {}


def test_a_table_lost_after_the_commit_comes_back_by_checkout(followed: Followed) -> None:
    table = followed.project.path / "data/mine.csv"
    before = table.read_bytes()
    table.unlink()
    followed.project.ok("dvc", "checkout", "data/mine.csv")

    assert table.read_bytes() == before


def test_a_table_imported_by_dvc_and_updated_goes_through_the_pipeline(followed: Followed) -> None:
    made = followed.project
    source = made.path.parent / "source.csv"
    wines().to_csv(source, index=False)
    made.ok("dvc", "import-url", str(source), "data/imported.csv")
    made.set(data={"path": "data/imported.csv"})
    wines(150).to_csv(source, index=False)
    made.ok("dvc", "update", "data/imported.csv.dvc")
    done = made.run("dvc", "repro", "validate")

    assert done.returncode == 0, done.stderr
    assert "150 rows and 6 columns read from data/imported.csv" in done.stderr
