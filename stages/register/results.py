"""Log an evaluation to MLflow: test plots, metrics, the rows behind them, and the model card as a description."""

import json
from collections.abc import Mapping
from pathlib import Path

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_RUN_NOTE

from stages import files
from stages.params.params import Params
from stages.report.charts import Chart

FOLDER = "test"
"""Folder of a run's artifacts for the plots and tables of test rows."""
_LONGEST_TAG = 8_000
"""Characters that MLflow allows."""


def log_results(run_id: str, params: Params, rows: dict[str, int], charts: Mapping[str, Chart]) -> None:
    """Log what the evaluation wrote under metrics/; the model card is the run's description.

    `rows` are the numbers of ``training`` and ``test`` rows.
    """
    for path in (files.CARD, files.METRICS):
        mlflow.log_artifact(str(path))
    mlflow.log_artifacts(str(files.PLOTS), f"{FOLDER}/tables")
    for chart in charts.values():
        mlflow.log_text(chart.standalone(), f"{FOLDER}/{chart.name}.svg")
    table, paths = Path(params.data.path).name, {"training": files.TRAIN, "test": files.TEST}
    datasets = [_dataset(table, context, paths[context], number) for context, number in rows.items()]
    MlflowClient().log_inputs(run_id, datasets)
    mlflow.set_tag(MLFLOW_RUN_NOTE, files.CARD.read_text(encoding="utf-8")[:_LONGEST_TAG])


def _dataset(name: str, context: str, path: Path, rows: int) -> DatasetInput:
    dataset = Dataset(
        name=name,
        digest=files.md5(path),
        source_type="local",
        source=json.dumps({"uri": str(path)}),
        profile=json.dumps({"num_rows": rows}),
    )
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)])
