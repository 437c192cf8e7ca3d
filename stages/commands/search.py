"""Search the hyperparameters of the model in params.yaml by cross-validation on the training rows.

Optuna chooses what to try: `search` in params.yaml, or else the default for the model. A trial that falls behind
the others stops after some folds. Ctrl-C or a kill loses nothing: the same command goes on. The best five trials
become DVC experiments. Only the best is run to the end, and only if it beats the settings of params.yaml, so the
test rows are scored once.

Example: make search TRIALS=50 JOBS=2
"""

import argparse
import fcntl
import math
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from stages import files
from stages.entry import log, run
from stages.errors import UserError
from stages.estimators.sample import read_sample
from stages.params.loading import load_params
from stages.params.search import Settings
from stages.partitions.arguments import add_scheduler, positive
from stages.partitions.executors import Spread
from stages.progress import showing, timed, track
from stages.runs import tracking
from stages.schema import read_schema
from stages.scores.gate import main_metric
from stages.search import best, chart
from stages.search.scoring import Scorer, scoring
from stages.search.spaces import space_of
from stages.search.study import Search, mean, open_study, study_name
from stages.search.trial_runs import TrialRuns

_FOLDER = Path("build/search")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    parser.add_argument(
        "--trials", type=positive, default=30, help="number of trials, with those of earlier runs (default: 30)"
    )
    parser.add_argument("--seconds", type=positive, help="start no trial after this many seconds (default: no limit)")
    parser.add_argument(
        "--jobs",
        type=positive,
        help="trials at a time; the same number finds the same again (default: 1, or the threads of the cluster)",
    )
    add_scheduler(parser, "score")


@dataclass(frozen=True, slots=True)
class _Budget:
    trials: int
    deadline: float
    """By `time.monotonic`."""
    jobs: int


def main(*, trials: int, seconds: int | None, jobs: int | None, scheduler: str | None) -> None:
    """Run the search or go on with it, and save the best trials."""
    params = load_params()
    space_of(params, 0)  # a wrong `search` is an error before anything runs
    deadline = time.monotonic() + (seconds or math.inf)
    try:
        with _alone():
            _prepare()
            schema = read_schema()
            train = read_sample(files.TRAIN, params).rows
            scorer, space = Scorer(train, schema, params), space_of(params, len(train))
            study = open_study(_FOLDER / f"{study_name(params, space)}.log")
            with tracking.errors_as_line(), scoring(scorer, Spread(jobs or 1, scheduler)) as scored:
                runs = TrialRuns(tracking.connect(params.registered_name), study.study_name)
                metric = main_metric(schema.contract.task)
                about = scorer.folds, params.random_state, metric, scored.check, scored.lost
                search = Search(study, space, scored.start, *about)
                budget = _Budget(trials, deadline, jobs or scored.slots)
                current = _search(search, params.settings(space), runs, budget)
            best.keep(search, current)
    except KeyboardInterrupt:
        log("stopped; the same command goes on")
        raise SystemExit(130) from None


def _prepare() -> None:
    """Let DVC make the training rows current."""
    if subprocess.run(["dvc", "repro", "--quiet", "prepare"], check=False).returncode:
        raise UserError("`dvc repro prepare` failed, see above; the search needs its rows")


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the lock of searches in this clone. Raises UserError if another process holds it."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with (_FOLDER / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released when the process ends, however it does
        except BlockingIOError:
            raise UserError("another search runs in this clone; wait for it, or stop it with Ctrl-C") from None
        yield


def _search(search: Search, present: Settings, runs: TrialRuns, budget: _Budget) -> float:
    """Run trials within the budget, and log them; return the score of the settings of params.yaml."""
    done = search.finished()
    if done:
        log(f"going on with {search.study.study_name}: {len(done)} of {budget.trials} trials are done")
    complete = False
    try:
        with timed("scoring the settings of params.yaml"):
            current = mean(search.current(present))
        for trial in done:
            runs.log(trial, search.settings_of(trial), search.metric)
        with showing("searching", every=30):
            new = search.run(budget.trials, budget.deadline, budget.jobs)
            for trial in track(new, budget.trials - len(done), "trial"):
                runs.log(trial, search.settings_of(trial), search.metric)
                log(_describe(trial, search))
        complete = True
    except KeyboardInterrupt:
        log(f"stopped; {_found(search)}; the same command goes on")
        raise SystemExit(130) from None
    finally:
        ranked = search.ranked()
        runs.finish(ranked[0].value if ranked else None, search.metric, "FINISHED" if complete else "KILLED")
    plot = _FOLDER / f"{search.study.study_name}.svg"
    chart.draw(search, current, plot)
    runs.log_plot(plot)
    log(f"history and importance: {plot}")
    return current


def _describe(trial: FrozenTrial, search: Search) -> str:
    settings = best.describe(search.settings_of(trial))
    if trial.state == TrialState.FAIL:
        return f"trial {trial.number}: failed; {settings}"
    if trial.state != TrialState.COMPLETE:
        return f"trial {trial.number}: stopped after fold {len(trial.intermediate_values)}; {settings}"
    return f"trial {trial.number}: cv_{search.metric} {trial.value:.4f}; {settings}"


def _found(search: Search) -> str:
    ranked = search.ranked()
    return f"{len(search.finished())} trials are done" + (f", best {_describe(ranked[0], search)}" if ranked else "")


if __name__ == "__main__":
    run(main, add_arguments)
