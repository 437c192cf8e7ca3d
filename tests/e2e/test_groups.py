"""Figures by a column that is no feature, from the raw table to the gate."""

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from tests.e2e.conftest import Project, small_table

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("groups")]


def test_a_model_whose_groups_differ_too_much_is_refused(project: Callable[..., Project]) -> None:
    table = small_table().assign(sex=lambda rows: np.where(rows["a"] > 0, "f", "m"))
    made = project(
        table,
        data={"ignore": ["sex"]},
        evaluate={"groups": ["sex"], "threshold": 0.5},
        register={"max_difference": {"demographic_parity_difference": 0.1}},
    )
    made.ok("dvc", "repro")
    groups = pd.read_csv(made.path / "metrics/groups.csv")
    metrics = json.loads((made.path / "metrics/metrics.json").read_text("utf-8"))
    promoted = made.run("python", "-m", "stages.commands.promote")

    assert set(groups.loc[groups["metric"] == "selection_rate", "group"]) == {"f", "m"}
    assert metrics["demographic_parity_difference"] > 0.1
    assert "| sex |" in (made.path / "metrics/model_card.md").read_text("utf-8")
    assert "sex" not in (made.path / "metrics/slices.csv").read_text("utf-8")
    assert promoted.returncode == 3
    assert "demographic_parity_difference" in promoted.stderr.splitlines()[-1]
    assert "above register.max_difference 0.1" in promoted.stderr.splitlines()[-1]
