"""The last lines of `make repro`: what came out, and what to type next."""

from collections.abc import Callable

from stages.commands import summary
from stages.params import Params

Make = Callable[..., Params]
FOUND = {"r2": 0.51239, "r2_low": 0.4, "r2_high": 0.6, "baseline_r2": 0.0}
GATE = {"name": "m", "model_md5": "0", "gate": {"metric": "r2", "value": 0.51239, "baseline": 0.0, "passed": True}}


def test_it_sets_the_metric_with_its_interval_beside_the_baseline(params: Make) -> None:
    lines = summary.summary(FOUND, GATE, "m version 1: champion", params())

    assert lines[0].endswith("r2 0.5124 (0.4000 to 0.6000), the dummy baseline 0.0000")


def test_it_says_what_promote_decided(params: Make) -> None:
    assert any(
        "m version 2: refused: worse" in line
        for line in summary.summary(FOUND, GATE, "m version 2: refused: worse", params())
    )


def test_a_model_that_nobody_promoted_is_told_how_to(params: Make) -> None:
    assert any(
        line.endswith("`make promote` releases the model") for line in summary.summary(FOUND, GATE, None, params())
    )


def test_a_metric_that_the_test_rows_do_not_define_is_told_as_unknown(params: Make) -> None:
    gate = {**GATE, "gate": {"metric": "roc_auc", "value": None, "baseline": None, "passed": False}}

    lines = summary.summary({}, gate, None, params())

    assert "roc_auc unknown" in lines[0]
    assert "not passed" in lines[1]


def test_it_names_the_units_of_the_interval_and_what_to_choose_models_by(params: Make) -> None:
    counted = {"interval_unit": "day", "interval_units": 121, "cv_r2": 0.48, "cv_r2_std": 0.02, "cv_folds": 5.0}

    lines = summary.summary(FOUND | counted, GATE, None, params())

    assert "r2 0.5124 (0.4000 to 0.6000 over 121 days)" in lines[0]
    assert lines[1].endswith("cv_r2 0.4800 ± 0.0200, of 5 folds of the training rows")
