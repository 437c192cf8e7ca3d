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
EXPERIMENTS = """Experiment,typ,cv_roc_auc,cv_roc_auc_std,roc_auc,n
,baseline,0.6,0.02,0.7,1
dull-ox,branch_commit,0.71,0.03,0.80,1
wild-cat,branch_commit,0.74,0.02,0.70,4
old-one,branch_base,,,0.9,2
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
        sweep.main(["b=1", setting])


def test_every_combination_runs_and_the_best_by_cross_validation_comes_first(
    calls: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (calls.parent / "experiments.csv").write_text(EXPERIMENTS, encoding="utf-8")
    with caplog.at_level("INFO", logger="stages"):
        sweep.main(["n=1,4", "m=x,y"])

    assert calls.read_text(encoding="utf-8").splitlines() == [
        f"exp run --temp --set-param n={n} --set-param m={m}" for n in (1, 4) for m in "xy"
    ]
    assert caplog.messages[-3:-1] == [
        "wild-cat: cv_roc_auc 0.7400 ± 0.0200, n=4 m=None",
        "dull-ox: cv_roc_auc 0.7100 ± 0.0300, n=1 m=None",
    ]


def test_a_failed_experiment_stops_no_other_and_is_reported_at_the_end(calls: Path) -> None:
    with pytest.raises(UserError, match="1 of 3 failed: n=2"):
        sweep.main(["n=1,2,4"])

    assert len(calls.read_text(encoding="utf-8").splitlines()) == 3


def test_an_interrupt_ends_the_sweep_once_dvc_has_tidied_up(calls: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        sweep.main(["n=3,4"])

    assert ended.value.code == 130
    assert calls.read_text(encoding="utf-8").splitlines()[1:] == ["tidied up"]
