"""A plain loop over experiments."""

import os
import stat
from pathlib import Path

import pytest

from stages.commands import sweep
from stages.errors import UserError

DVC = """#!/bin/sh
case "$*" in "exp show --csv") cat experiments.csv 2>/dev/null; exit ;; esac
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
    assert list(sweep.combinations(["a=1,2", "b=x,y", "c=0"])) == [
        ["a=1", "b=x", "c=0"],
        ["a=1", "b=y", "c=0"],
        ["a=2", "b=x", "c=0"],
        ["a=2", "b=y", "c=0"],
    ]


@pytest.mark.parametrize("setting", ["a", "=1", "a=", "a=1,", "a=,1"])
def test_what_is_no_setting_is_refused(setting: str) -> None:
    with pytest.raises(UserError, match="is no key=value,value"):
        sweep.combinations(["b=1", setting])


def test_experiments_run_in_temporary_copies(calls: Path) -> None:
    sweep.main(["n=1", "m=5,6"])

    assert calls.read_text(encoding="utf-8").splitlines() == [
        "exp run --temp --set-param n=1 --set-param m=5",
        "exp run --temp --set-param n=1 --set-param m=6",
    ]


def test_one_that_fails_stops_none_and_is_told_at_the_end(calls: Path) -> None:
    with pytest.raises(UserError, match="1 of 3 failed: n=2"):
        sweep.main(["n=1,2,4"])

    assert len(calls.read_text(encoding="utf-8").splitlines()) == 3


def test_an_interrupt_ends_the_sweep_once_dvc_has_tidied_up(calls: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        sweep.main(["n=3,4"])

    assert ended.value.code == 130
    assert calls.read_text(encoding="utf-8").splitlines()[1:] == ["tidied up"]


EXPERIMENTS = """Experiment,typ,cv_roc_auc,cv_roc_auc_std,roc_auc,n
,baseline,0.6,0.02,0.7,1
dull-ox,branch_commit,0.71,0.03,0.80,1
wild-cat,branch_commit,0.74,0.02,0.70,4
old-one,branch_base,,,0.9,2
"""


def test_the_best_by_cross_validation_comes_first_whatever_the_test_rows_say(
    calls: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (calls.parent / "experiments.csv").write_text(EXPERIMENTS, encoding="utf-8")
    with caplog.at_level("INFO", logger="stages"):
        sweep.main(["n=1,4"])

    assert caplog.messages[-3:-1] == [
        "wild-cat: cv_roc_auc 0.7400 ± 0.0200, n=4",
        "dull-ox: cv_roc_auc 0.7100 ± 0.0300, n=1",
    ]
