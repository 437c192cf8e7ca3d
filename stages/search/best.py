"""Keep the best trials of a search as DVC experiments."""

import hashlib
import json

from optuna.trial import FrozenTrial, TrialState

from stages.entry import log
from stages.errors import UserError
from stages.estimators.folds import mean_and_deviation
from stages.params.search import Settings
from stages.runs import git
from stages.scores.metrics import rounded
from stages.search import experiments
from stages.search.study import Search

KEPT = 5


def keep(search: Search, current: float) -> None:
    """Save the best trials as experiments, run the best one to the end if it beats the present settings, list them.

    The others have only their cross-validated scores: the test rows stay unseen, except for the final choice.

    Raises UserError if all trials failed.
    """
    ranked, done = search.ranked()[:KEPT], search.finished()
    if done and all(trial.state == TrialState.FAIL for trial in done):
        raise UserError("all trials failed, see above; correct `search` in params.yaml")
    if not ranked:
        log("no trial is complete yet; the same command goes on")
        return
    named = {_name(search, trial): trial for trial in ranked}
    better = [each for each, trial in named.items() if trial is ranked[0] and float(trial.value or 0) > current]
    for each in better:
        _run(each, search, named[each])
    for each, trial in named.items():
        if experiments.metrics_of(each) is None:
            experiments.save(each, search.settings_of(trial), _scores(search, trial), *better)
    _print_table(search, named, current)
    for each in better:
        log(f"take the best: dvc exp apply {each}")
    if not better:
        log("no trial beats the settings of params.yaml, so they stay, and no test row was scored")


def _print_table(search: Search, named: dict[str, FrozenTrial], current: float) -> None:
    name = f"cv_{search.metric}"
    print(f"{'experiment':<20} {name:>12} {'std':>8}  settings")
    for each, trial in named.items():
        scores = _scores(search, trial)
        settings = describe(search.settings_of(trial))
        print(f"{each:<20} {scores[name]:>12.4f} {scores[f'{name}_std']:>8.4f}  {settings}")
    print(f"{'params.yaml':<20} {current:>12.4f}")


def describe(settings: Settings) -> str:
    """Return settings as text, with values as in params.yaml."""
    return ", ".join(_assignments(settings))


def _assignments(settings: Settings) -> list[str]:
    return [
        f"{name}={json.dumps(value) if value is None or isinstance(value, bool) else value}"
        for name, value in settings.items()
    ]


def _name(search: Search, trial: FrozenTrial) -> str:
    """Return a name that is unique across searches and commits, as an experiment belongs to a commit."""
    digest = hashlib.sha256(f"{search.study.study_name} {git.head()}".encode()).hexdigest()
    return f"trial-{trial.number}-{digest[:6]}"


def _scores(search: Search, trial: FrozenTrial) -> dict[str, float]:
    folds = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
    return rounded(mean_and_deviation(folds, search.metric))


def _run(name: str, search: Search, trial: FrozenTrial) -> None:
    """Run an experiment to the end, unless it has been. Raises UserError if it fails."""
    metrics = experiments.metrics_of(name)
    if metrics and search.metric in metrics:
        return
    if metrics is not None:  # saved, when it was not yet the best
        experiments.remove(name)
    settings = _assignments(search.settings_of(trial))
    if experiments.run_experiment(settings, name):
        raise UserError(f"the experiment {name} failed, see above; its settings: {' '.join(settings)}")
