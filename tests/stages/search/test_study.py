"""Trials repeat, go on after a kill, stop when they fall behind, and end with the time."""

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState

from stages.errors import UserError
from stages.params.search import Range, Settings, Space
from stages.search import best, chart
from stages.search.study import Search, open_study

FOLDS = 4
SPACE: Space = {"x": Range(low=0.0, high=1.0), "kind": ("a", "b", None), "n": Range(low=1, high=64, log=True)}
Scoring = Callable[[Settings, int], float]
Make = Callable[..., Search]


def hill(settings: Settings, fold: int) -> float:
    """Return a score that is highest at x = 0.7; the first fold is easy, and no trial is behind there."""
    return -10.0 * fold + (fold > 0) * ((settings["kind"] == "b") / 100 - (float(settings["x"] or 0) - 0.7) ** 2)


@pytest.fixture
def search(tmp_path: Path) -> Make:
    """Return a function that opens the study in a file, scored by a function."""

    def make(score: Scoring = hill, name: str = "study", seed: int = 0) -> Search:
        def start(settings: Settings, fold: int) -> Future[float]:
            future: Future[float] = Future()
            try:
                future.set_result(score(settings, fold))
            except UserError as error:
                future.set_exception(error)
            return future

        return Search(open_study(tmp_path / f"{name}.log"), SPACE, start, FOLDS, seed, "roc_auc")

    return make


def run(search: Search, trials: int = 12, deadline: float = np.inf, jobs: int = 1) -> list[FrozenTrial]:
    return list(search.run(trials, deadline, jobs))


def content(search: Search) -> list[tuple[Any, ...]]:
    return [(trial.params, trial.state, trial.intermediate_values) for trial in search.finished()]


def test_a_seed_gives_the_same_trials_and_another_seed_others(search: Make) -> None:
    first, again, other = search(name="1"), search(name="2"), search(name="3", seed=1)
    for each in (first, again, other):
        run(each)

    assert content(first) == content(again)
    assert content(first) != content(other)


@pytest.mark.parametrize("calls", [1, 4, 23])
def test_a_search_that_died_goes_on_where_it_was(search: Make, calls: int) -> None:
    whole = search(name="whole")
    run(whole)
    left = calls

    def dying(settings: Settings, fold: int) -> float:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return hill(settings, fold)

    with pytest.raises(KeyboardInterrupt):
        run(search(dying))
    scored: list[int] = []

    def counting(settings: Settings, fold: int) -> float:
        scored.append(fold)
        return hill(settings, fold)

    run(search(counting))

    assert content(search()) == content(whole)
    assert calls + len(scored) == sum(len(scores) for *_, scores in content(whole))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_search_that_was_killed_after_any_line_of_its_file_finds_the_same(
    search: Make, tmp_path: Path, jobs: int
) -> None:
    whole = search(name="whole")
    run(whole, 9, jobs=jobs)
    lines = (tmp_path / "whole.log").read_bytes().splitlines(keepends=True)

    for count in range(len(lines)):
        # A study is named after its file.
        (tmp_path / f"{count}.log").write_bytes(b"".join(lines[:count]).replace(b'"whole"', f'"{count}"'.encode()))
        run(search(name=f"{count}"), 9, jobs=jobs)
        assert content(search(name=f"{count}")) == content(whole), lines[count - 1]
    assert len(lines) > 9 * (FOLDS - 1)


@pytest.mark.parametrize("jobs", [2, 5])
def test_it_does_not_matter_which_of_several_folds_is_scored_first(search: Make, jobs: int) -> None:
    found = []
    for seed in (1, 2):
        waits = random.Random(seed)
        with ThreadPoolExecutor(jobs) as threads:

            def start(settings: Settings, fold: int, start: Any = threads.submit, waits: Any = waits) -> Any:
                return start(delayed, waits.random() / 100, settings, fold)

            made = search(name=f"{seed}")
            run(replace(made, score=start), 20, jobs=jobs)
        found.append(content(made))

    assert found[0] == found[1]
    assert TrialState.PRUNED in [state for _, state, _ in found[0]]


def delayed(seconds: float, settings: Settings, fold: int) -> float:
    time.sleep(seconds)
    return hill(settings, fold)


def test_trials_that_fall_behind_stop_early_whatever_the_difficulty_of_the_folds(search: Make) -> None:
    made = search()
    run(made)
    pruned = [trial for trial in made.finished() if trial.state == TrialState.PRUNED]

    assert pruned
    assert all(len(trial.intermediate_values) < FOLDS for trial in pruned)
    assert made.ranked()[0].params["x"] == pytest.approx(0.7, abs=0.2)


def test_trials_count_those_of_earlier_runs(search: Make) -> None:
    run(search(), 3)

    assert len(run(search(), 5)) == 2
    assert run(search(), 5) == []


@pytest.mark.parametrize("jobs", [1, 3])
def test_after_the_deadline_no_fold_begins(search: Make, jobs: int) -> None:
    deadline = np.inf
    late: list[float] = []

    def slow(settings: Settings, fold: int) -> float:
        late.append(time.monotonic() - deadline)
        return hill(settings, fold)

    made = search(slow)
    deadline = time.monotonic() + 0.5
    run(made, 10_000, deadline, jobs)

    assert late
    assert max(late) < 0.1


def test_settings_that_a_stage_refuses_fail_alone(search: Make) -> None:
    def refusing(settings: Settings, fold: int) -> float:
        if settings["kind"] == "a":
            raise UserError("a is refused")
        return hill(settings, fold)

    made = search(refusing)
    run(made)
    states = {trial.params["kind"]: trial.state for trial in made.finished()}

    assert states.pop("a") == TrialState.FAIL
    assert TrialState.FAIL not in states.values()


def test_a_metric_that_folds_leave_undefined_is_an_error(search: Make) -> None:
    with pytest.raises(UserError, match="fewer than two folds"):
        search(lambda _, fold: np.nan if fold else 0.5).current({})


def test_tried_numbers_have_four_digits(search: Make) -> None:
    made = search()
    run(made)
    tried = [made.settings_of(trial) for trial in made.finished()]

    assert all(float(f"{settings['x']:.4g}") == settings["x"] for settings in tried)
    assert all(isinstance(settings["n"], int) for settings in tried)


def test_equal_searches_draw_equal_plots(search: Make, tmp_path: Path) -> None:
    plots: Iterator[Path] = iter([tmp_path / "1.svg", tmp_path / "2.svg"])
    made = search()
    run(made)
    drawn = []
    for plot in plots:
        chart.draw(made, -20.0, plot)
        drawn.append(plot.read_bytes())

    assert drawn[0] == drawn[1]
    assert next(iter(chart.importances(made.study))) == "x"
    assert sum(chart.importances(made.study).values()) == pytest.approx(1)


def test_a_file_that_is_no_study_is_an_error(search: Make, tmp_path: Path) -> None:
    (tmp_path / "study.log").write_text("not a study\n" * 100, encoding="utf-8")

    with pytest.raises(UserError, match=r"study\.log: is no study of Optuna .*; move it away"):
        search()


def test_what_a_machine_that_died_left_is_no_obstacle(search: Make, tmp_path: Path) -> None:
    made = search()
    run(made)
    before = content(made)
    with (tmp_path / "study.log").open("a", encoding="utf-8") as file:
        file.write('{"op_code": 4, "wor')
    (tmp_path / "study.log.lock").symlink_to(tmp_path / "study.log")

    assert content(search()) == before
    assert len(run(search(), 14)) == 2


def test_a_search_whose_trials_all_failed_is_no_success(search: Make) -> None:
    def refusing(settings: Settings, fold: int) -> float:
        raise UserError("class_weight: 'balanced' is not for regression")

    failed = search(refusing)
    run(failed, 2)

    with pytest.raises(UserError, match="all trials failed, see above; correct `search`"):
        best.keep(failed, 0.5)
