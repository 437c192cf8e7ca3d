"""The last lines of `make repro`: what came out, and what to type next."""

from collections.abc import Callable
from typing import Any

import pytest

from stages.commands.summary import summary
from stages.params.params import Params

METRICS = {"r2": 0.51239, "r2_low": 0.4, "r2_high": 0.6, "baseline_r2": 0.0}
FOLDS = {"interval_unit": "day", "interval_units": 121, "cv_r2": 0.48, "cv_r2_std": 0.02, "cv_folds": 5.0}
GATE = {"metric": "r2", "value": 0.51239, "baseline": 0.0, "passed": True}


@pytest.mark.parametrize(
    ("metrics", "gate", "decision", "expected"),
    [
        (METRICS, GATE, None, "r2 0.5124 (0.4000 to 0.6000), the dummy baseline 0.0000"),
        (METRICS | FOLDS, GATE, None, "r2 0.5124 (0.4000 to 0.6000 over 121 days)"),
        (METRICS | FOLDS, GATE, None, "cv_r2 0.4800 ± 0.0200, of 5 folds of the training rows"),
        (METRICS, GATE, "m version 2: refused: worse", "m version 2: refused: worse"),
        (METRICS, GATE, None, "`make promote` releases the model"),
        ({}, GATE | {"value": None, "passed": False}, None, "r2 unknown"),
        ({}, GATE | {"value": None, "passed": False}, None, "not passed"),
    ],
)
def test_the_summary_names_the_metric_the_choice_and_the_decision(
    params: Callable[..., Params], metrics: dict[str, Any], gate: dict[str, Any], decision: str | None, expected: str
) -> None:
    assert any(expected in line for line in summary(metrics, gate, decision, params()))
