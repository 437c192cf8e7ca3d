"""Put the model into the MLflow registry, and make it champion if it is good enough."""

import json
from dataclasses import dataclass
from typing import Any

import joblib
import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

import service.model
from stages import _files, _metrics, _params, _tracking
from stages._entry import log, run
from stages._errors import UserError
from stages._params import Params


@dataclass(frozen=True, slots=True)
class Gate:
    """The comparison with the dummy baseline: it depends on the model and params alone."""

    metric: str
    value: float
    baseline: float
    min_gain: float

    @property
    def passed(self) -> bool:
        """True if the gain over the baseline is at least `min_gain`."""
        return self.value - self.baseline >= self.min_gain


def register(found: dict[str, float], task: str, params: Params) -> Gate:
    """Hold the metrics against the baseline's.

    Raises UserError if the test rows gave no main metric.
    """
    metric = _metrics.main_metric(task)
    if metric not in found:
        raise UserError(f"{_files.METRICS}: has no {metric}: the test rows hold one class alone; change the split")
    return Gate(metric, found[metric], found[f"baseline_{metric}"], params.registration.min_gain)


def _run_of(experiment_id: str, model_md5: str, params: Params) -> str:
    found = _tracking.find_run(experiment_id, model_md5)
    if found:
        return str(found.info.run_id)
    with mlflow.start_run(experiment_id=experiment_id) as active:
        rows = pd.read_parquet(_files.TRAIN)
        pipeline = joblib.load(_files.MODEL)
        names = [feature.name for feature in service.model.load(_files.ONNX).contract.features]
        _tracking.Mirror(params).log_model(pipeline, rows[names])
        return str(active.info.run_id)


def _champion(client: MlflowClient, name: str) -> Any:
    try:
        return client.get_model_version_by_alias(name, "champion")
    except MlflowException:
        return None


def _decide(gate: Gate, champion: Any, tolerance: float) -> str:
    if not gate.passed:
        return f"{gate.metric} {gate.value:.4f} does not beat the baseline {gate.baseline:.4f} by {gate.min_gain}"
    if champion and gate.value < float(champion.tags["main_metric"]) - tolerance:
        return f"{gate.metric} {gate.value:.4f} is worse than the champion's {champion.tags['main_metric']} by more than {tolerance}"  # noqa: E501
    return ""


def _publish(run_id: str, model_md5: str, gate: Gate, params: Params) -> str:
    """Make a version unless this model has one; move the aliases; give the reason of a refusal, or nothing."""
    client, name = MlflowClient(), params.registration.name
    if not client.search_registered_models(filter_string=f"name = '{name}'"):
        client.create_registered_model(name)
    same = client.search_model_versions(f"name = '{name}' and tags.`{_tracking.MODEL_MD5}` = '{model_md5}'")
    champion = _champion(client, name)
    refusal = _decide(gate, champion, params.registration.tolerance)
    marks = {_tracking.MODEL_MD5: model_md5, "main_metric": repr(gate.value)} | (
        {"refused": refusal} if refusal else {}
    )
    made = same[0] if same else client.create_model_version(name, f"runs:/{run_id}/model", run_id=run_id, tags=marks)
    if not refusal and (champion is None or champion.version != made.version):
        if champion:
            client.set_registered_model_alias(name, "previous", champion.version)
        client.set_registered_model_alias(name, "champion", made.version)
    log(f"{name} version {made.version}: {'refused: ' + refusal if refusal else 'champion'}")
    return refusal


def main() -> None:
    """Read the metrics, write the gate's result, tell MLflow."""
    params = _params.load(_files.PARAMS)
    found = json.loads(_files.METRICS.read_text(encoding="utf-8"))
    gate = register(found, service.model.load(_files.ONNX).contract.task, params)
    model_md5 = _files.md5(_files.MODEL)
    run_id = _run_of(_tracking.connect(params.registration.name), model_md5, params)
    with mlflow.start_run(run_id=run_id):
        mlflow.log_metrics(found)
        mlflow.set_tag("onnx.md5", _files.md5(_files.ONNX))
    refusal = _publish(run_id, model_md5, gate, params)
    record = {"metric": gate.metric, "value": gate.value, "baseline": gate.baseline, "passed": gate.passed}
    _files.write_json(_files.REGISTRATION, {"name": params.registration.name, "model_md5": model_md5, "gate": record})
    if refusal and params.registration.required:
        raise UserError(f"the model is refused: {refusal} (register.required is true)")


if __name__ == "__main__":
    run(main)
