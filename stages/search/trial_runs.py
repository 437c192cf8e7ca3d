"""Log each trial to MLflow as a run below the run of its search."""

from pathlib import Path

import mlflow
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME
from optuna.trial import FrozenTrial, TrialState

from stages.params.search import Settings
from stages.runs import tracking
from stages.search.interrupts import finishing

STUDY = "search.study"
"""Tag: the study that a run belongs to."""
TRIAL = "search.trial"
"""Tag: the trial's number; the search's own run has `tracking.NONE`."""
_STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED"}


class TrialRuns:
    """The runs of one study; a trial that has a run is not logged again."""

    def __init__(self, experiment_id: str, study: str) -> None:
        self._client, self._experiment, self._study = MlflowClient(), experiment_id, study
        found = mlflow.search_runs(
            [experiment_id], filter_string=f"tags.`{STUDY}` = '{study}'", output_format="list", max_results=50_000
        )
        by_trial = {run.data.tags[TRIAL]: run.info.run_id for run in found}
        self._parent = by_trial.pop(tracking.NONE, None) or self._create(f"search {study}", tracking.NONE, {})
        self._client.update_run(self._parent, status="RUNNING")
        self._logged = set(by_trial)

    def _create(self, name: str, trial: str, tags: dict[str, str], start_ms: int | None = None) -> str:
        own = {STUDY: self._study, TRIAL: trial, MLFLOW_RUN_NAME: name}
        run = self._client.create_run(self._experiment, start_time=start_ms, tags=tracking.lineage() | own | tags)
        return str(run.info.run_id)

    @finishing()  # a transaction that is cut would lock the database for all others
    def log(self, trial: FrozenTrial, settings: Settings, metric: str) -> None:
        """Log a finished trial: its settings, its score on each fold and their mean if it is complete."""
        number = str(trial.number)
        if number in self._logged:
            return
        start, end = (
            int(moment.timestamp() * 1000) if moment else 0
            for moment in (trial.datetime_start, trial.datetime_complete)
        )
        run_id = self._create(f"trial {number}", number, {MLFLOW_PARENT_RUN_ID: self._parent}, start)
        metrics = [Metric(f"{metric}_of_fold", score, end, step) for step, score in trial.intermediate_values.items()]
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            metrics.append(Metric(f"cv_{metric}", trial.value, end, 0))
        params = [Param(name, str(value)) for name, value in settings.items()]
        self._client.log_batch(run_id, metrics, params, [RunTag("search.state", trial.state.name.lower())])
        self._client.set_terminated(run_id, _STATUS.get(trial.state, "FAILED"), end)
        self._logged.add(number)

    def finish(self, best: float | None, metric: str, status: str) -> None:
        """Log the search's best score, and end its run."""
        if best is not None:
            self._client.log_metric(self._parent, f"cv_{metric}", best)
        self._client.set_terminated(self._parent, status)

    def log_plot(self, path: Path) -> None:
        """Log the search's plot."""
        self._client.log_artifact(self._parent, str(path))
