"""The list of experiments shows what to choose by, the best first, and what differs."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from stages.commands import experiments


def state(name: str, score: float | None = None, **params: Any) -> dict[str, Any]:
    metrics = {
        "roc_auc": 0.70001,
        "roc_auc_low": 0.6,
        "roc_auc_high": 0.8,
        "cv_roc_auc": score,
        "cv_roc_auc_std": 0.0321,
    }
    data = {
        "timestamp": "2026-11-29T15:00:34",
        "params": {"params.yaml": {"data": params}},
        "metrics": {"metrics/metrics.json": {"data": {} if score is None else metrics}},
    }
    return {"name": name, "rev": "0123456789", "data": data, "error": None}


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a `dvc` first on PATH that prints the content of the file that is returned."""
    program, answer = tmp_path / "dvc", tmp_path / "answer.json"
    program.write_text(f"#!/bin/sh\ncat {answer}\n", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return answer


def show(listed: Path, capsys: pytest.CaptureFixture[str], *below: dict[str, Any]) -> list[str]:
    runs = [{"name": each["name"], "revs": [each], "executor": each.get("executor")} for each in below]
    commit = state("main", 0.65, depth=3, same=1, features={}) | {"experiments": runs}
    listed.write_text(json.dumps([commit]), encoding="utf-8")
    experiments.main()
    return capsys.readouterr().out.splitlines()


def test_the_best_by_cross_validation_comes_first(listed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = show(listed, capsys, state("low", 0.6), state("unscored"), state("high", 0.7123456))

    assert [line.split()[0] for line in lines] == ["Experiment", "main", "high", "low", "unscored"]
    assert "0.7123 ± 0.032  0.7000 (0.6000 to 0.8000)" in lines[2]


def test_a_parameter_that_only_some_have_differs(listed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    speed = {"speed": "distance / maximum(minutes, 1) * 60"}
    header, main, run = show(listed, capsys, state("fast", 0.7, depth=3, same=1, features=speed))

    assert header.split()[-1] == "features.speed"
    assert main.endswith(" -")
    assert run.endswith("  distance / maximum(minutes, 1…")


def test_a_score_of_zero_is_a_score(listed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = show(listed, capsys, state("worse", -0.5), state("none"), state("zero", 0.0))

    assert [line.split()[0] for line in lines[2:]] == ["zero", "worse", "none"]


def test_null_differs_from_missing_and_a_text_stays_on_its_line(
    listed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, _, run = show(listed, capsys, state("run", 0.7, depth=3, same=1, text="a\nb", cut=None))

    assert header.split()[-2:] == ["text", "cut"]
    assert run.endswith("a b   null")


def test_only_an_unfinished_experiment_has_a_state(listed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done, waits = (state(each, 0.7) | {"executor": {"state": each}} for each in ("success", "queued"))
    assert "State" not in show(listed, capsys, done)[0]
    header, *lines = show(listed, capsys, done, waits)

    place = header.index("State")
    assert [line[place : place + 6].strip() for line in lines] == ["", "", "queued"]


def test_there_are_at_most_12_columns(
    listed: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "stages")
    many = {f"p{place:02}": place for place in range(20)}
    header = show(listed, capsys, state("wide", 0.7, depth=3, same=1, **many))[0]

    assert len(header.split()) <= 12
    assert "p19" in caplog.messages[0]
