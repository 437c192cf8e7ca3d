"""Draw the history of a search and the importance of what it tried."""

import io
import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from optuna.trial import TrialState

from stages import files
from stages.search.study import Search

_FEWEST = 2
"""Complete trials that an importance needs."""


def importances(study: optuna.Study) -> dict[str, float]:
    """Return the share of each hyperparameter in what separates good trials from the others, the largest first.

    PED-ANOVA (Watanabe et al. 2023), over complete trials. Empty if they are too few or all the same.
    """
    values = {trial.value for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))}
    if len(values) < _FEWEST:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(study)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def draw(search: Search, current: float, path: Path) -> None:
    """Write an SVG file with the history and the importance; equal trials give equal bytes."""
    found = importances(search.study)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    history, bars = figure.subplots(1, 2)
    _draw_history(history, search.study, current, search.metric)
    bars.barh(list(found)[::-1], list(found.values())[::-1])
    bars.set(title="importance", xlabel="share", xlim=(0, 1))
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": search.study.study_name}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    files.write_text(path, text.getvalue())


def _draw_history(axes: Axes, study: optuna.Study, current: float, metric: str) -> None:
    trials = study.get_trials(deepcopy=False)
    complete = [(trial.number, trial.value) for trial in trials if trial.state == TrialState.COMPLETE]
    pruned = [
        (trial.number, float(np.nanmean([*trial.intermediate_values.values()])))
        for trial in trials
        if trial.state == TrialState.PRUNED
    ]
    if complete:
        numbers, values = np.array(complete).T
        axes.scatter(numbers, values, s=12, label="complete")
        axes.step(numbers, np.maximum.accumulate(values), where="post", linewidth=1, label="best so far")
    if pruned:
        numbers, means = np.array(pruned).T
        axes.scatter(numbers, means, s=12, marker="x", color="grey", label="pruned, mean of its folds")
    axes.axhline(current, linestyle="--", linewidth=1, color="black", label="settings of params.yaml")
    axes.set(title="history", xlabel="trial", ylabel=f"cv_{metric}")
    axes.legend(fontsize="small")
