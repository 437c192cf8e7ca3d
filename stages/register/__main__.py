"""Register the model in MLflow as a candidate, with its verdict against the dummy baseline.

This decides nothing about production: `stages.commands.promote` does. So this stage may run in
any experiment, and its output depends on the model and params.yaml alone.
"""

import json

import mlflow
import pandas as pd
import pyarrow.parquet as pq
from mlflow.tracking import MlflowClient

import service.model
from stages import files
from stages.entry import log, run
from stages.errors import UserError
from stages.params import Params, load_params
from stages.register import latency, results
from stages.register.results import Part
from stages.runs import facts as _facts
from stages.runs import registry as _registry
from stages.runs import tracking
from stages.runs.facts import Facts
from stages.runs.registry import Registry
from stages.scores.gate import Gate, compare_with_baseline


def register(found: dict[str, float], task: str, params: Params) -> Gate:
    """Compare the metrics with the baseline's."""
    return compare_with_baseline(found, task, params.registration.min_gain)


def complete(run_id: str, model: service.model.Model, facts: Facts, params: Params, rows: pd.DataFrame) -> None:
    """Complete the run: test results, how fast the model predicts, and what `promote` needs to release the model."""
    numbers = {name: value for name, value in facts.metrics.items() if isinstance(value, int | float)}
    with mlflow.start_run(run_id=run_id):
        mlflow.log_metrics(numbers | latency.measure(model, rows))
        mlflow.log_artifact(str(files.ONNX), "onnx")
        mlflow.log_artifact(str(files.SCHEMA))
        mlflow.log_text(facts.model_dump_json(indent=2), _registry.FACTS_FILE)
        results.log_results(model.contract, params, facts.metrics, _parts(facts, rows))
        mlflow.set_tag(tracking.ONNX_MD5, model.version)


def _parts(facts: Facts, rows: pd.DataFrame) -> list[Part]:
    return [Part("training", files.TRAIN, facts.training_rows or 0), Part("test", files.TEST, len(rows))]


def _run_of(experiment_id: str, model_md5: str, model: service.model.Model, params: Params) -> str:
    """The model's run; made here where there is none: `train` was skipped, or ran on another machine."""
    found = tracking.find_run(experiment_id, model_md5)
    if found:
        return str(found.info.run_id)
    # Rarely needed, and scikit-learn takes a second to import.
    import joblib  # noqa: PLC0415

    from stages.runs import fitted  # noqa: PLC0415

    return fitted.log_restored(experiment_id, joblib.load(files.MODEL), model.contract, params)


def publish(registry: Registry, facts: Facts, run_id: str, gate: Gate) -> str:
    """Make a version unless this model has one, and say on it how it did; return what happened in one line."""
    version = registry.version_of(str(facts.model_md5), facts.onnx_md5, run_id)
    decision = "refused" if gate.refusal else "candidate"
    reason = gate.refusal or f"{gate.metric} {gate.value:.4f} beats the baseline {gate.baseline:.4f}"
    registry.mark(version, {"decision": decision, "reason": reason, _registry.TRAINING_ROWS: str(facts.training_rows)})
    return f"{registry.name} version {version.version}: {decision}: {reason}"


def main() -> None:
    """Read the metrics, tell MLflow, write the gate's result."""
    params = load_params()
    found = json.loads(files.METRICS.read_text(encoding="utf-8"))
    model = service.model.load(files.ONNX)
    gate = register(found, model.contract.task, params)
    facts = _facts.of_files(params, found, pq.read_metadata(files.TRAIN).num_rows)
    experiment = tracking.connect(facts.name)
    with tracking.told(), tracking.alone("registry"):
        run_id = _run_of(experiment, str(facts.model_md5), model, params)
        complete(run_id, model, facts, params, pd.read_parquet(files.TEST))
        log(publish(Registry(MlflowClient(), facts.name), facts, run_id, gate))
    if gate.refusal and params.registration.required:
        raise UserError(f"the model is refused: {gate.refusal} (register.required is true)")
    record = {"metric": gate.metric, "value": gate.value, "baseline": gate.baseline, "passed": not gate.refusal}
    files.write_json(files.REGISTRATION, {"name": facts.name, "model_md5": facts.model_md5, "gate": record})


if __name__ == "__main__":
    run(main)
