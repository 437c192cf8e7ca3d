"""A sample's cost: scores of smaller samples on the same rows, and what they can't say."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.errors import UserError
from stages.estimators.sample import Sample, read_sample
from stages.params.params import Params
from stages.params.sample_use import SampleUse
from stages.prepare import __main__ as prepare
from stages.schema import Schema
from stages.train.__main__ import check_classes
from stages.train.learning_curve import describe_sample

Make = Callable[..., Params]
ROWS = 6_000


@pytest.fixture
def drawn(params: Make, tmp_path: Path) -> Callable[..., tuple[Sample, Schema, Params]]:
    """Return a function that draws a sample of a table whose classes many rows tell apart better."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(ROWS, 5)), columns=list("abcde")).round(3)
    table["y"] = np.where(np.sin(3 * table["a"]) + table["b"] + rng.normal(size=ROWS) > 0, "yes", "no")
    table["n"] = table["a"] * table["b"] + rng.normal(size=ROWS)

    def draw(size: int | None, target: str = "y", **changes: object) -> tuple[Sample, Schema, Params]:
        data = {"target": target, "ignore": ["n" if target == "y" else "y"]}
        wanted = params(data=data, train={"sample": size}, model="hist_gradient_boosting", **changes)
        train, _, schema = prepare.prepare(table, wanted)
        train.to_parquet(tmp_path / "train.parquet", index=False)
        return read_sample(tmp_path / "train.parquet", wanted), schema, wanted

    return draw


Draw = Callable[..., tuple[Sample, Schema, Params]]


def describe(drawn: tuple[Sample, Schema, Params]) -> SampleUse:
    sample, schema, wanted = drawn
    return describe_sample(sample, schema.contract, schema.split, wanted)


@pytest.mark.parametrize(("target", "metric"), [("y", "roc_auc"), ("n", "r2")])
def test_more_rows_score_better_on_the_same_others(drawn: Draw, target: str, metric: str) -> None:
    use = describe(drawn(2_000, target))

    assert (use.rows, use.metric) == (2_000, metric)
    assert [each.share for each in use.curve] == [0.1, 0.3, 1.0]
    assert use.curve[-1].rows + use.held_out == 2_000
    assert use.curve[0].score < use.curve[1].score < use.curve[2].score
    assert use.gain_low is not None
    assert use.gain_high is not None
    assert use.gain_low < (use.gain or 0) < use.gain_high


def test_the_text_gives_rows_scores_and_the_gain(drawn: Draw) -> None:
    use = describe(drawn(2_000))

    text = use.describe()

    assert f"a sample of 2,000 of {use.of:,} training rows" in text
    assert f"{use.curve[0].score:.4f} on {use.curve[0].rows}" in text
    assert f"gain {use.gain:+.4f} [{use.gain_low:+.4f}, {use.gain_high:+.4f}]" in text


def test_without_a_sample_nothing_is_fitted_and_nothing_said(drawn: Draw) -> None:
    use = describe(drawn(None))

    assert (use.rows, use.curve, use.describe()) == (use.of, (), "")


def test_a_tiny_sample_has_no_score_where_a_share_has_one_class(drawn: Draw) -> None:
    use = describe(drawn(20, min_samples_leaf=1))

    assert len(use.curve) < 3
    assert "sample of 20 of" in use.describe()


def test_a_sample_without_a_class_is_refused(drawn: Draw) -> None:
    sample, schema, _ = drawn(20)
    alone = sample.rows[sample.rows["y"] == "no"]

    with pytest.raises(
        UserError, match=r"^params\.yaml: train\.sample: got \d+, and none .* is of class yes; use more"
    ):
        check_classes(Sample(alone, sample.places[: len(alone)], sample.of, sample.order), schema.contract)
