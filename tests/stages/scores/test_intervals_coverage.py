"""A 95 % interval holds the truth in 95 of 100 tables, also where the rows of a group are alike."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from stages.scores import intervals
from stages.scores.metrics import Classified, Codes, Floats, Outcome, Predicted, main_score
from stages.scores.units import FEWEST, Units

GROUPS = 60
MANY = 20_000
TABLES = 300
OFF = 3 * (0.95 * 0.05 / TABLES) ** 0.5
"""Three standard errors of a share of `TABLES` that is truly 95 %: below 0.9123, an interval is too narrow."""
Draw = Callable[[np.random.Generator, Codes], tuple[Outcome, Outcome]]

pytestmark = pytest.mark.slow


def alike(rng: np.random.Generator, codes: Codes, strength: float) -> Floats:
    """Return the effect of each row's group."""
    shared: Floats = rng.normal(size=int(codes.max()) + 1)[codes] * strength
    return shared


def classes(rng: np.random.Generator, codes: Codes) -> tuple[Outcome, Outcome]:
    """Draw rows of two classes, and two models' scores; groups are alike in class and in score."""
    known = rng.normal(size=len(codes))
    positive = rng.random(len(codes)) < 1 / (1 + np.exp(1 - 1.2 * known - alike(rng, codes, 1.0)))
    scores = known + alike(rng, codes, 0.7)
    other = scores + rng.normal(size=len(codes)) * 0.8 + alike(rng, codes, 0.3)
    return binary(scores, positive), binary(other, positive)


def binary(scores: Floats, positive: npt.NDArray[np.bool_]) -> Classified:
    shares = 1 / (1 + np.exp(-scores))
    return Classified(
        ("no", "yes"),
        1,
        positive.astype(np.intp),
        np.stack([1 - shares, shares], axis=1),
        (shares > 0.5).astype(np.intp),
    )


def values(rng: np.random.Generator, codes: Codes) -> tuple[Outcome, Outcome]:
    """Draw numbers and two models' predictions; groups are alike in what is known and in the error."""
    known = rng.normal(size=len(codes)) + alike(rng, codes, 0.7)
    truth = known + alike(rng, codes, 1.0) + rng.normal(size=len(codes))
    other = known + rng.normal(size=len(codes)) * 0.5 + alike(rng, codes, 0.3)
    return Predicted(truth, known), Predicted(truth, other)


def equal(rng: np.random.Generator) -> Codes:
    return np.repeat(np.arange(GROUPS), 6)


def unequal(rng: np.random.Generator) -> Codes:
    return np.repeat(np.arange(GROUPS), np.ceil(6 * np.exp(rng.normal(size=GROUPS) * 0.8 - 0.3)).astype(int))


def main(outcome: Outcome) -> float:
    found = main_score(outcome)
    assert found is not None
    return found


def coverage(draw: Draw, codes: Callable[[np.random.Generator], Codes], name: str) -> float:
    """Return the share of tables whose intervals contain the metric of `MANY` groups; `paired` is the difference."""
    whole = draw(np.random.default_rng(0), np.repeat(np.arange(MANY), 8))
    metric = "r2" if name == "r2" else "roc_auc"
    truth = main(whole[0]) - (main(whole[1]) if name == "paired" else 0)
    held = 0
    for seed in range(1, TABLES + 1):
        rng = np.random.default_rng(seed)
        groups = codes(rng)
        ours, theirs = draw(rng, groups)
        units = Units("group", groups)
        if name == "paired":
            low, high = intervals.paired_interval(ours, theirs, units, 0)
        else:
            bounds = intervals.intervals(ours, units, 0)
            low, high = bounds[f"{metric}_low"], bounds[f"{metric}_high"]
        held += low <= truth <= high
    return held / TABLES


@pytest.mark.parametrize(("draw", "name"), [(classes, "roc_auc"), (values, "r2")])
def test_an_interval_over_groups_holds_the_truth_in_95_of_100_tables(draw: Draw, name: str) -> None:
    assert coverage(draw, unequal, name) == pytest.approx(0.95, abs=OFF)


@pytest.mark.parametrize("draw", [classes, values])
def test_the_interval_of_a_difference_holds_the_truth_in_95_of_100_tables(draw: Draw) -> None:
    assert coverage(draw, equal, "paired") == pytest.approx(0.95, abs=OFF)


def test_an_interval_over_independent_rows_holds_the_truth_in_95_of_100_tables() -> None:
    assert coverage(classes, lambda _: np.arange(100), "roc_auc") == pytest.approx(0.95, abs=OFF)


def test_an_interval_by_row_misses_the_truth_if_rows_of_a_group_are_similar() -> None:
    truth = main(values(np.random.default_rng(0), np.repeat(np.arange(MANY), 8))[0])
    held = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        ours, _ = values(rng, equal(rng))
        bounds = intervals.intervals(ours, Units("row", np.arange(len(ours.y_true))), 0)
        held.append(bounds["r2_low"] <= truth <= bounds["r2_high"])
    assert np.mean(held) < 0.9


def test_at_the_fewest_groups_that_have_an_interval_it_still_holds_the_truth_in_92_of_100_tables() -> None:
    assert coverage(values, lambda _: np.repeat(np.arange(FEWEST), 8), "r2") >= 0.92
