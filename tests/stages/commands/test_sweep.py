"""A plain loop over experiments."""

import os
import stat
from pathlib import Path

import pytest

from stages.commands import sweep
from stages.errors import UserError

DVC = """#!/bin/sh
case "$*" in "exp show"*) exit ;; esac
echo "$@" >> calls
case "$*" in *n=2*) exit 1 ;; *n=3*) kill -INT "$PPID"; sleep 0.5; echo tidied up >> calls ;; esac
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `dvc` first on PATH that notes how it was called, fails at n=2 and is interrupted at n=3."""
    program = tmp_path / "dvc"
    program.write_text(DVC, encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "calls"


@pytest.mark.parametrize("setting", ["a", "=1", "a=", "a=1,", "a=,1"])
def test_a_setting_without_key_or_value_is_refused(setting: str) -> None:
    with pytest.raises(UserError, match="is not key=value,value"):
        sweep.main(["b=1", setting], None)


def test_every_combination_runs(calls: Path) -> None:
    sweep.main(["n=1,4", "m=x,y"], None)

    assert calls.read_text(encoding="utf-8").splitlines() == [
        f"exp run --temp --set-param n={n} --set-param m={m}" for n in (1, 4) for m in "xy"
    ]


def test_a_failed_experiment_stops_no_other_and_is_reported_at_the_end(calls: Path) -> None:
    with pytest.raises(UserError, match="1 of 3 failed: n=2"):
        sweep.main(["n=1,2,4"], None)

    assert len(calls.read_text(encoding="utf-8").splitlines()) == 3


def test_an_interrupt_ends_the_sweep_once_dvc_has_tidied_up(calls: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        sweep.main(["n=3,4"], None)

    assert ended.value.code == 130
    assert calls.read_text(encoding="utf-8").splitlines()[1:] == ["tidied up"]
