"""Run trials one after another or side by side; Optuna chooses the settings and keeps the trials in a file."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from stages import files
from stages.entry import log
from stages.errors import UserError
from stages.params.params import Params
from stages.params.search import Settings, Space
from stages.search.spaces import settings_of, suggest

_STARTUP = 5
"""Trials are pruned once this many are complete."""
_FEWEST = 2
_POLL_SECONDS: Final = 2.0

Score = Callable[[Settings, int], Future[float]]


class FoldPruner(optuna.pruners.BasePruner):  # type: ignore[misc]
    """Stop a trial whose mean over its folds is below the median of the complete trials over the same folds.

    Optuna's MedianPruner compares a trial's best fold with the others' latest one, and folds differ in difficulty.
    Only trials that are at least `lag` older count, so that it doesn't matter which of those that run ends first.
    """

    def __init__(self, lag: int) -> None:
        self._lag = lag

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether to stop."""
        steps = sorted(trial.intermediate_values)
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        others = [
            mean([each.intermediate_values[step] for step in steps])
            for each in complete
            if each.number <= trial.number - self._lag
        ]
        return len(others) >= _STARTUP and mean([*trial.intermediate_values.values()]) < float(np.nanmedian(others))


def mean(scores: list[float]) -> float:
    """Return the mean of the defined scores; NaN if there is none."""
    defined = [score for score in scores if not np.isnan(score)]
    return float(np.mean(defined)) if defined else np.nan


def study_name(params: Params, space: Space) -> str:
    """Return a name that changes with everything that changes a trial's score: rows, folds, settings, space."""
    fixed = params.model_dump(mode="json", exclude={"validation", "registration", "evaluate"})
    for group, name in (key.rpartition(".")[::2] for key in space):
        del (fixed[group] if group else fixed)[name]
    fixed["folds"] = params.evaluate.folds
    tried = {name: repr(entry) for name, entry in sorted(space.items())}
    parts = [files.md5(files.TRAIN), files.md5(files.SCHEMA), fixed, tried]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
    return f"{params.model}-{digest[:8]}"


def open_study(path: Path) -> optuna.Study:
    """Open the study in a file that only this process uses, or create it; the name is the file's.

    Raises UserError if the file's content is not Optuna's.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A process that died may leave Optuna's lock behind, and a machine that died half a line.
    Path(f"{path}.lock").unlink(missing_ok=True)
    path.touch()
    os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
    try:
        storage = JournalStorage(JournalFileBackend(str(path)))
        return optuna.create_study(storage=storage, study_name=path.stem, direction="maximize", load_if_exists=True)
    except (ValueError, LookupError) as error:
        raise UserError(f"{path}: is no study of Optuna ({error}); move it away, and the search begins anew") from None


@dataclass
class _Running:
    trial: optuna.Trial
    settings: Settings
    scores: list[float] = field(default_factory=list)
    pruned: bool = False
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """A study, what it tries, and how it scores."""

    study: optuna.Study
    space: Space
    score: Score
    folds: int
    seed: int
    metric: str
    check: Callable[[], object] = lambda: None
    """Raises UserError if nobody is there to score."""
    lost: tuple[type[Exception], ...] = ()
    """Errors of a fold after which only its trial has failed, as after a UserError."""

    def current(self, settings: Settings) -> list[float]:
        """Return the scores of the settings of params.yaml, computed once for a study.

        Raises UserError if fewer than two folds define the metric.
        """
        key = f"current {settings}"
        known = self.study.user_attrs.get(key)
        if known is None:
            known = self._all([self.score(settings, fold) for fold in range(self.folds)])
            self.study.set_user_attr(key, known)
        if np.count_nonzero(~np.isnan(known)) < _FEWEST:
            raise UserError("fewer than two folds of the training rows define the metric; use more rows or fewer folds")
        return list(known)

    def run(self, trials: int, deadline: float, jobs: int) -> Iterator[FrozenTrial]:
        """Run until the study has `trials` finished trials or the time is over; yield each that finishes, in order.

        A trial is chosen from the results of all that are `lag` older than it, whichever of the others have ended.
        So what is tried depends on `jobs`, but neither on how long a trial takes nor on where it runs. A trial that a
        kill or the deadline interrupted continues after its last fold.
        """
        lag = 1 if jobs == 1 else 2 * jobs
        self.study.pruner = FoldPruner(lag)
        interrupted = [each for each in self.study.trials if not each.state.is_finished()]
        pending: dict[Future[float], _Running] = {}
        ended: dict[int, _Running] = {}
        while True:
            asked, oldest = self._count(), self._oldest()
            may_ask = asked < min(trials, oldest + lag)
            if len(pending) < jobs and time.monotonic() < deadline and (interrupted or may_ask):
                running = self._continue(interrupted.pop(0)) if interrupted else self._ask()
                self._go_on(running, pending, ended, deadline)
            elif oldest in ended and not may_ask:
                yield self._tell(ended.pop(oldest))
            elif pending:
                for future in self._wait(pending):
                    running = pending.pop(future)
                    self._take(running, future)
                    self._go_on(running, pending, ended, deadline)
            else:
                break
        for number in sorted(ended):  # after the deadline
            yield self._tell(ended[number])

    def _all(self, futures: list[Future[float]]) -> list[float]:
        """Return the results of futures."""
        waiting = set(futures)
        while waiting:
            waiting -= self._wait(waiting)
        return [future.result() for future in futures]

    def _wait(self, futures: Collection[Future[float]]) -> set[Future[float]]:
        """Return the futures that are done, some time after one is. Raises UserError if nobody is there to score."""
        done = wait(futures, _POLL_SECONDS, FIRST_COMPLETED).done
        if not done:
            self.check()
        return done

    def _take(self, running: _Running, future: Future[float]) -> None:
        """Record a fold's score; a trial whose settings a stage refuses, or whose workers are lost, has failed."""
        failures: tuple[type[Exception], ...] = (UserError, *self.lost)
        try:
            score = future.result()
        except failures as error:
            log(f"trial {running.trial.number} failed: {error}")
            running.failed = True
            return
        running.trial.report(score, len(running.scores))
        running.scores.append(score)

    def _go_on(
        self, running: _Running, pending: dict[Future[float], _Running], ended: dict[int, _Running], deadline: float
    ) -> None:
        """Start the next fold of a trial, unless it has ended or the time is over."""
        complete = len(running.scores) == self.folds
        running.pruned = bool(running.scores) and not (complete or running.failed) and running.trial.should_prune()
        if complete or running.failed or running.pruned:
            ended[running.trial.number] = running
        elif time.monotonic() < deadline:
            pending[self.score(running.settings, len(running.scores))] = running

    def _tell(self, running: _Running) -> FrozenTrial:
        """Finish a trial in the study."""
        if running.failed or running.pruned:
            return self.study.tell(running.trial, state=TrialState.FAIL if running.failed else TrialState.PRUNED)
        return self.study.tell(running.trial, mean(running.scores))

    def _oldest(self) -> int:
        """Return the number of the oldest trial that has not finished, else that of the next one."""
        numbers = (each.number for each in self.study.get_trials(deepcopy=False) if not each.state.is_finished())
        return min(numbers, default=self._count())

    def finished(self) -> list[FrozenTrial]:
        """Return the trials that are complete, pruned or failed."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.is_finished()]

    def settings_of(self, trial: FrozenTrial) -> Settings:
        """Return what a trial tried."""
        return settings_of(trial, self.space)

    def ranked(self) -> list[FrozenTrial]:
        """Return the complete trials, the best first; of those with equal settings only the first."""
        distinct: dict[str, FrozenTrial] = {}
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            distinct.setdefault(repr(self.settings_of(trial)), trial)
        return sorted(distinct.values(), key=lambda each: (-float(each.value or 0), each.number))

    def _count(self) -> int:
        return len(self.study.get_trials(deepcopy=False))

    def _ask(self) -> _Running:
        """Choose settings from the trials so far and record all of them at once, so that a kill can't divide them.

        The sampler's seed depends on the trial's number, so a search in several runs tries the same as one.
        """
        sampler = optuna.samplers.TPESampler(seed=(self.seed + 7919 * self._count()) % 2**32)
        chooser = optuna.create_study(direction="maximize", sampler=sampler)
        chooser.add_trials(self.study.get_trials(deepcopy=False))
        chosen = chooser.ask()
        suggest(chosen, self.space)
        self.study.enqueue_trial(chosen.params)
        return self._start()

    def _start(self) -> _Running:
        trial = self.study.ask()  # what was recorded
        return _Running(trial, suggest(trial, self.space))

    def _continue(self, frozen: FrozenTrial) -> _Running:
        if frozen.state == TrialState.WAITING:
            return self._start()
        trial = optuna.Trial(self.study, frozen._trial_id)  # noqa: SLF001  # there is no public way to go on with one
        scores = [frozen.intermediate_values[step] for step in sorted(frozen.intermediate_values)]
        return _Running(trial, suggest(trial, self.space), scores)
