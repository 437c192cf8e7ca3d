"""A plain loop over experiments."""

import os
import stat
from pathlib import Path

import pytest

from stages import _sweep
from stages._errors import UserError

DVC = """#!/bin/sh
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


def test_every_combination_is_run() -> None:
    assert list(_sweep.combinations(["a=1,2", "b=x,y", "c=0"])) == [
        ["a=1", "b=x", "c=0"],
        ["a=1", "b=y", "c=0"],
        ["a=2", "b=x", "c=0"],
        ["a=2", "b=y", "c=0"],
    ]


@pytest.mark.parametrize("setting", ["a", "=1", "a=", "a=1,", "a=,1"])
def test_what_is_no_setting_is_refused(setting: str) -> None:
    with pytest.raises(UserError, match="is no key=value,value"):
        _sweep.combinations(["b=1", setting])


def test_experiments_run_in_temporary_copies(calls: Path) -> None:
    _sweep.main(["n=1", "m=5,6"])

    assert calls.read_text(encoding="utf-8").splitlines() == [
        "exp run --temp --set-param n=1 --set-param m=5",
        "exp run --temp --set-param n=1 --set-param m=6",
    ]


def test_one_that_fails_stops_none_and_is_told_at_the_end(calls: Path) -> None:
    with pytest.raises(UserError, match="1 of 3 failed: n=2"):
        _sweep.main(["n=1,2,4"])

    assert len(calls.read_text(encoding="utf-8").splitlines()) == 3


def test_an_interrupt_ends_the_sweep_once_dvc_has_tidied_up(calls: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        _sweep.main(["n=3,4"])

    assert ended.value.code == 130
    assert calls.read_text(encoding="utf-8").splitlines()[1:] == ["tidied up"]
