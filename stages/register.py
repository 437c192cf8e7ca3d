"""Put the model into the MLflow registry, and make it champion if it is good enough.

Two gates: the dummy baseline, by `register.min_gain`, and the current champion, by
`register.tolerance`, both models scored on the same test rows. A champion that cannot score
these rows (another target, other classes, a column gone, its file lost) is replaced by
whoever passes the first gate, and the version's tags say why.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import joblib
import mlflow
import pandas as pd
import pyarrow.parquet as pq
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient

import service.model
from stages import _champion, _exposition, _files, _fitted, _latency, _metrics, _params, _tracking
from stages._champion import Comparison
from stages._entry import log, run, timed
from stages._errors import NotComparableError, UserError
from stages._fitted import Fit
from stages._params import Params
from stages._registry import Registry


@dataclass(frozen=True, slots=True)
class Gate:
    """The comparison with the dummy baseline: it depends on the model and params alone."""

    metric: str
    value: float | None
    baseline: float | None
    min_gain: float

    @property
    def refusal(self) -> str:
        """Why the model does not pass; nothing if it does."""
        if self.value is None or self.baseline is None:
            return f"the test rows give no {self.metric}: too few of them, or one class alone; change the split"
        # Both are rounded to so many digits, and so is what is left between them.
        if round(self.value - self.baseline, _metrics.DIGITS) >= self.min_gain:
            return ""
        return f"{self.metric} {self.value:.4f} does not beat the baseline {self.baseline:.4f} by {self.min_gain}"


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a version: champion unless there is a `refusal`; `tags` hold what it rests on."""

    refusal: str
    why: str
    tags: dict[str, str]


def register(found: dict[str, float], task: str, params: Params) -> Gate:
    """Hold the metrics against the baseline's."""
    metric = _metrics.main_metric(task)
    return Gate(metric, found.get(metric), found.get(f"baseline_{metric}"), params.registration.min_gain)


def decide(gate: Gate, against: Comparison | str | None, champion: str, tolerance: float) -> Decision:
    """Weigh both gates.

    Parameters
    ----------
    against
        The comparison with the champion; a text that says why there is none; None without a champion.
    champion
        The champion's version.
    """
    if isinstance(against, Comparison):
        tags = {
            "champion.version": champion,
            "champion.value": f"{against.champion:.6f}",
            "champion.difference": f"{against.difference:.6f}",
            "champion.difference_low": f"{against.low:.6f}",
            "champion.difference_high": f"{against.high:.6f}",
        }
        much = f"{gate.metric} {against.candidate:.4f} against {against.champion:.4f} of champion {champion} "
        much += f"on the same rows (difference {against.low:+.4f} to {against.high:+.4f})"
        worse = f"worse than the champion by more than {tolerance}: {much}" if -against.difference > tolerance else ""
        return Decision(gate.refusal or worse, much, tags)
    if against:
        tags = {"champion.version": champion, "champion.not_comparable": against}
        return Decision(gate.refusal, f"champion {champion} could not be compared: {against}", tags)
    return Decision(gate.refusal, "the first one that beats the baseline", {})


def complete(run_id: str, model: service.model.Model, found: dict[str, float], rows: pd.DataFrame) -> None:
    """Complete the run: all metrics, how fast it predicts, the file that production runs."""
    with mlflow.start_run(run_id=run_id):
        mlflow.log_metrics(found | _latency.measure(model, rows))
        mlflow.log_artifact(str(_files.ONNX), "onnx")
        mlflow.set_tag(_tracking.ONNX_MD5, model.version)


def _run_of(experiment_id: str, model_md5: str, model: service.model.Model, params: Params) -> str:
    """The model's run; made here where there is none: `train` was skipped, or ran on another machine."""
    found = _tracking.find_run(experiment_id, model_md5)
    if found:
        return str(found.info.run_id)
    rows = pd.read_parquet(_files.TRAIN)
    features = rows[[feature.name for feature in model.contract.features]]
    pipeline = joblib.load(_files.MODEL)
    return _fitted.log_fit(experiment_id, Fit(pipeline, features, rows[model.contract.target], params))


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a version: the reason of a refusal, or nothing; and all of it in one line."""

    refusal: str
    line: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """The model at the gates: its files are those of this folder, `rows` are the test rows."""

    md5: str
    run_id: str
    model: service.model.Model
    rows: pd.DataFrame
    gate: Gate


def _compare(
    registry: Registry, champion: ModelVersion | None, candidate: Candidate, seed: int
) -> Comparison | str | None:
    if champion is None:
        return None
    try:
        with timed(f"comparing with champion {champion.version} on {len(candidate.rows):,} rows"):
            return _champion.compare(candidate.model, registry.load(champion), candidate.rows, seed)
    except NotComparableError as error:
        return str(error)


def publish(registry: Registry, candidate: Candidate, params: Params, now: datetime) -> Published:
    """Make a version unless this model has one, decide, mark it, move the aliases."""
    version = registry.version_of(candidate.md5, candidate.model.version, candidate.run_id)
    registry.tell_rows(version, pq.read_metadata(_files.TRAIN).num_rows)
    registry.notice(now)
    champion = registry.holder("champion")
    reigning = champion is not None and str(champion.version) == str(version.version)
    against = _compare(registry, None if reigning else champion, candidate, params.random_state)
    decision = decide(candidate.gate, against, str(champion.version) if champion else "", params.registration.tolerance)
    if not reigning or decision.refusal:
        registry.mark(version, decision.refusal, decision.why, decision.tags)
    if not decision.refusal and not reigning:
        registry.crown(version, champion, decision.why, now)
    line = f"{registry.name} version {version.version}: {_outcome(decision, champion, reigning=reigning)}"
    return Published(decision.refusal, line)


def _outcome(decision: Decision, champion: ModelVersion | None, *, reigning: bool) -> str:
    if decision.refusal:
        return f"refused: {decision.refusal}" + (f"; version {champion.version} stays champion" if champion else "")
    return "stays champion" if reigning else f"champion: {decision.why}"


def main() -> None:
    """Read the metrics, tell MLflow, write the gate's result."""
    params = _params.load(_files.PARAMS)
    found = json.loads(_files.METRICS.read_text(encoding="utf-8"))
    model = service.model.load(_files.ONNX)
    gate = register(found, model.contract.task, params)
    model_md5 = _files.md5(_files.MODEL)
    rows = pd.read_parquet(_files.TEST)
    experiment = _tracking.connect(params.registration.name)
    registry = Registry(MlflowClient(), params.registration.name)
    with _tracking.told(), _tracking.alone("registry"):
        run_id = _run_of(experiment, model_md5, model, params)
        complete(run_id, model, found, rows)
        candidate = Candidate(model_md5, run_id, model, rows, gate)
        published = publish(registry, candidate, params, datetime.now(UTC))
        exposed = _exposition.text(registry.name, _exposition.versions(registry))
    _files.write_text(_files.REGISTRY, exposed)
    log(published.line)
    _files.write_text(_files.DECISION, published.line + "\n")
    if published.refusal and params.registration.required:
        raise UserError(f"the model is refused: {published.refusal} (register.required is true)")
    record = {"metric": gate.metric, "value": gate.value, "baseline": gate.baseline, "passed": not gate.refusal}
    _files.write_json(_files.REGISTRATION, {"name": params.registration.name, "model_md5": model_md5, "gate": record})


if __name__ == "__main__":
    run(main)
