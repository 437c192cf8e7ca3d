"""Write the report of the run, and register the model in MLflow with its verdict against the dummy baseline.

`stages.commands.promote` decides about production, not this stage. So it can run in any
experiment, and its output depends only on the model and params.yaml.

Example: dvc repro register
"""

import json
import os
from typing import Any

import mlflow
import pyarrow.parquet as pq
from mlflow.tracking import MlflowClient

import service.model
from service.model import Model
from stages import files
from stages.entry import log, run
from stages.errors import UserError
from stages.params.loading import load_params
from stages.params.params import Params
from stages.register import latency, results
from stages.report.page import Page, compose
from stages.report.results import Results, read_results
from stages.runs import pages, registry, tracking
from stages.runs.registry import Registry
from stages.runs.run_record import RunRecord, record_from_files
from stages.scores.gate import Gate, check
from stages.scores.wording import with_interval


def register(metrics: dict[str, float], task: str, params: Params) -> Gate:
    """Compare the metrics with the baseline's, and the differences of groups with their bounds."""
    return check(metrics, task, params.registration.min_gain, params.registration.max_difference)


def complete_run(run_id: str, model: Model, record: RunRecord, found: Results, page: Page) -> None:
    """Log the report, the test results, the model's latency, and the files that `promote` needs for a release."""
    numbers = {name: value for name, value in record.metrics.items() if isinstance(value, int | float)}
    with mlflow.start_run(run_id=run_id):
        mlflow.log_metrics(numbers | latency.measure(model, found.test))
        mlflow.log_artifact(str(files.ONNX), "onnx")
        mlflow.log_artifact(str(files.SCHEMA))
        mlflow.log_artifact(str(files.SLICES))
        mlflow.log_text(report_of_run(page, record), files.REPORT.name)
        mlflow.log_text(record.model_dump_json(indent=2), registry.RECORD_FILE)
        sizes = {"training": len(found.train), "test": len(found.test)}
        results.log_results(run_id, found.params, sizes, page.charts)
        mlflow.set_tag(tracking.ONNX_MD5, model.version)


def _find_run(experiment_id: str, model_md5: str, model: Model, params: Params) -> str:
    """Return the id of the model's run; log one if `train` was skipped, or ran on another machine."""
    found = tracking.find_run(experiment_id, model_md5)
    if found:
        return str(found.info.run_id)
    # Seldom needed, and scikit-learn takes a second to import.
    import joblib  # noqa: PLC0415

    from stages.runs import training_run  # noqa: PLC0415

    return training_run.log_restored(experiment_id, joblib.load(files.MODEL), model.contract, params)


def report_of_run(page: Page, record: RunRecord) -> str:
    """Return the report with what only MLflow's copy has: the commit, and the champion's metrics."""
    run: dict[str, Any] = {"revision": record.revision}
    champion = Registry(MlflowClient(), record.name).holder("champion")
    if champion and champion.run_id:
        run["champion"] = {"version": champion.version, "metrics": mlflow.get_run(champion.run_id).data.metrics}
    return page.html(run)


def publish(registered: Registry, record: RunRecord, run_id: str, gate: Gate) -> str:
    """Create a version unless this model has one, tag and describe it with the verdict; return a line for the log."""
    version = registered.register(str(record.model_md5), record.onnx_md5, run_id)
    decision = "refused" if gate.refusal else "candidate"
    reason = gate.refusal or f"{gate.metric} {gate.value:.4f} beats the baseline {gate.baseline:.4f}"
    tags = {"decision": decision, "reason": reason, registry.TRAINING_ROWS: str(record.training_rows)}
    registered.set_tags(version, tags)
    registered.describe_version(version, pages.describe_version(record, reason))
    registered.describe(pages.describe_model(record))
    return f"{registered.name} version {version.version}: {decision}: {reason}"


def main() -> None:
    """Read the metrics; register the model in MLflow and write the gate's result."""
    params = load_params()
    metrics = json.loads(files.METRICS.read_text(encoding="utf-8"))
    model = service.model.load(files.ONNX)
    gate = register(metrics, model.contract.task, params)
    found = read_results(params)
    page = compose(found, gate)
    files.write_text(files.REPORT, page.html())
    record = record_from_files(params, metrics=metrics, training_rows=pq.read_metadata(files.TRAIN).num_rows)
    experiment = tracking.connect(record.name)
    with tracking.errors_as_line(), tracking.locked("registry"):
        run_id = _find_run(experiment, str(record.model_md5), model, params)
        pages.describe_experiment(experiment, record, model.contract.task)
        complete_run(run_id, model, record, found, page)
        log(publish(Registry(MlflowClient(), record.name), record, run_id, gate))
    log(f"{gate.metric} {with_interval(metrics, gate.metric)}; open {files.REPORT} in a browser")
    if not gate.refusal:
        experiment_name = os.environ.get(tracking.EXPERIMENT)
        log(f"`make promote{f' REV={experiment_name}' if experiment_name else ''}` releases the model")
    if gate.refusal and params.registration.required:
        raise UserError(f"the model is refused: {gate.refusal} (register.required is true)")
    verdict = {"metric": gate.metric, "value": gate.value, "baseline": gate.baseline, "passed": not gate.refusal}
    files.write_json(files.REGISTRATION, {"name": record.name, "model_md5": record.model_md5, "gate": verdict})


if __name__ == "__main__":
    run(main)
