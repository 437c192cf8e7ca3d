"""Run trials one after another or side by side; Optuna chooses the settings and keeps the trials in a file."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path

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

Score = Callable[[Settings, int], Future[float]]


class FoldPruner(optuna.pruners.BasePruner):
    """Stop a trial whose mean over its folds is below the median of the complete trials over the same folds.

    Optuna's MedianPruner compares a trial's best fold with the others' latest one, and folds differ in difficulty.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether to stop."""
        steps = sorted(trial.intermediate_values)
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        others = [mean([each.intermediate_values[step] for step in steps]) for each in complete]
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
        return optuna.create_study(
            storage=storage, study_name=path.stem, direction="maximize", load_if_exists=True, pruner=FoldPruner()
        )
    except (ValueError, LookupError) as error:
        raise UserError(f"{path}: is no study of Optuna ({error}); move it away, and the search begins anew") from None


@dataclass
class _Running:
    trial: optuna.Trial
    settings: Settings
    scores: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Search:
    """A study, what it tries, and how it scores."""

    study: optuna.Study
    space: Space
    score: Score
    folds: int
    seed: int
    metric: str

    def current(self, settings: Settings) -> list[float]:
        """Return the scores of the settings of params.yaml, computed once for a study.

        Raises UserError if fewer than two folds define the metric.
        """
        key = f"current {settings}"
        known = self.study.user_attrs.get(key)
        if known is None:
            known = [self.score(settings, fold).result() for fold in range(self.folds)]
            self.study.set_user_attr(key, known)
        if np.count_nonzero(~np.isnan(known)) < _FEWEST:
            raise UserError("fewer than two folds of the training rows define the metric; use more rows or fewer folds")
        return list(known)

    def run(self, trials: int, deadline: float, jobs: int) -> Iterator[FrozenTrial]:
        """Run until the study has `trials` finished trials or the time is over; yield each that finishes.

        A trial that a kill or the deadline interrupted continues after its last fold.
        """
        interrupted = [each for each in self.study.trials if each.state == TrialState.RUNNING]
        pending: dict[Future[float], _Running] = {}
        while True:
            while len(pending) < jobs and time.monotonic() < deadline:
                if not interrupted and self._count() >= trials:
                    break
                running = self._continue(interrupted.pop(0)) if interrupted else self._ask()
                yield from self._go_on(running, pending, deadline)
            if not pending:
                return
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                yield from self._take(pending.pop(future), future, pending, deadline)

    def _take(
        self, running: _Running, future: Future[float], pending: dict[Future[float], _Running], deadline: float
    ) -> Iterator[FrozenTrial]:
        """Record a fold's score; a trial whose settings a stage refuses has failed."""
        try:
            score = future.result()
        except UserError as error:
            log(f"trial {running.trial.number} failed: {error}")
            yield self.study.tell(running.trial, state=TrialState.FAIL)
            return
        running.trial.report(score, len(running.scores))
        running.scores.append(score)
        yield from self._go_on(running, pending, deadline)

    def _go_on(
        self, running: _Running, pending: dict[Future[float], _Running], deadline: float
    ) -> Iterator[FrozenTrial]:
        """Yield the trial if it has finished; else start its next fold, unless the time is over."""
        if len(running.scores) == self.folds:
            yield self.study.tell(running.trial, mean(running.scores))
        elif running.scores and running.trial.should_prune():
            yield self.study.tell(running.trial, state=TrialState.PRUNED)
        elif time.monotonic() < deadline:
            pending[self.score(running.settings, len(running.scores))] = running

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
        self._reseed(self._count())
        trial = self.study.ask()
        return _Running(trial, suggest(trial, self.space))

    def _continue(self, frozen: FrozenTrial) -> _Running:
        self._reseed(frozen.number)
        trial = optuna.Trial(self.study, frozen._trial_id)  # noqa: SLF001  # there is no public way to go on with one
        scores = [frozen.intermediate_values[step] for step in sorted(frozen.intermediate_values)]
        return _Running(trial, suggest(trial, self.space), scores)

    def _reseed(self, number: int) -> None:
        """Seed the sampler by the trial's number, so that a search in several runs tries the same as one."""
        self.study.sampler = optuna.samplers.TPESampler(seed=(self.seed + 7919 * number) % 2**32)
