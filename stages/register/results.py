"""What MLflow keeps of an evaluation: the test plots, the model card, the rows behind both, and a description."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_RUN_NOTE

from service.contract import Contract
from stages import files
from stages.params import Params
from stages.scores.main_metric import main_metric

FOLDER = "test"
"""Where the artifacts of the evaluation lie in a run; those of autologging are about training rows."""
_CURVES = {
    "roc": ("fpr", "tpr", "class"),
    "precision_recall": ("recall", "precision", "class"),
    "calibration": ("predicted", "actual", "class"),
    "scores": ("score", "rows", "class"),
}
_POINTS = {"residuals": ("predicted", "residual"), "predicted_actual": ("predicted", "actual")}
_BARS = {"importance": ("feature", "importance")}
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one side of the split."""

    context: str
    path: Path
    rows: int


def log_results(contract: Contract, params: Params, metrics: dict[str, Any], parts: list[Part]) -> None:
    """Log into the active run what the evaluation left under metrics/, and describe the run."""
    run = mlflow.active_run()
    if run is None:
        raise RuntimeError("no run is active")
    mlflow.log_artifact(str(files.CARD))
    mlflow.log_artifact(str(files.METRICS))
    mlflow.log_artifacts(str(files.PLOTS), f"{FOLDER}/tables")
    for path in sorted(files.PLOTS.glob("*.csv")):
        figure = draw(path.stem, pd.read_csv(path, keep_default_na=False))
        if figure:
            mlflow.log_figure(figure, f"{FOLDER}/{path.stem}.png")
    name = Path(params.data.path).name
    MlflowClient().log_inputs(run.info.run_id, [_dataset(name, part) for part in parts])
    mlflow.set_tag(MLFLOW_RUN_NOTE, describe(contract, params, metrics, parts))


def draw(name: str, table: pd.DataFrame) -> Figure | None:
    """Draw a table of metrics/plots; None for one that has no rows, or no picture."""
    if table.empty or name not in {*_CURVES, *_POINTS, *_BARS}:
        return None
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    x, y = {**_CURVES, **_POINTS, **_BARS}[name][:2]
    if name in _CURVES:
        for label, curve in table.groupby("class", sort=False):
            axes.plot(curve[x], curve[y], label=_literal(label))
        axes.legend()
    elif name in _BARS:
        axes.barh([_literal(text) for text in table[x]][::-1], table[y][::-1])
    else:
        axes.scatter(table[x], table[y], s=4)
    labels = (y, x) if name in _BARS else (x, y)
    axes.set(xlabel=labels[0], ylabel=labels[1], title=f"{name} of the test rows")
    return figure


def _literal(text: object) -> str:
    """Return a name that matplotlib takes for text: between dollar signs it expects a formula."""
    return str(text).replace("$", r"\$")


def _dataset(name: str, part: Part) -> DatasetInput:
    dataset = Dataset(
        name=name,
        digest=files.md5(part.path),
        source_type="local",
        source=json.dumps({"uri": str(part.path)}),
        profile=json.dumps({"num_rows": part.rows}),
    )
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, part.context)])


def describe(contract: Contract, params: Params, metrics: dict[str, Any], parts: list[Part]) -> str:
    """Return a description of the run in Markdown."""
    name = main_metric(contract.task)
    value, low, high, baseline = (
        _shown(metrics.get(key)) for key in (name, f"{name}_low", f"{name}_high", f"baseline_{name}")
    )
    rows = " and ".join(f"{part.rows:,} {part.context} rows" for part in parts)
    features = ", ".join(f"`{feature.name}`" for feature in contract.features[:_SHOWN])
    more = f" and {len(contract.features) - _SHOWN} more" if len(contract.features) > _SHOWN else ""
    lines = [
        f"`{params.model}` predicts `{contract.target}` ({contract.task}) of `{params.data.path}`.",
        f"On the test rows: {name} {value} ({low} to {high}), without a model {baseline}.",
        f"Data: {rows}. Features: {features}{more}.",
        "The metrics `training_…` and the plots beside them are about training rows, all others about test rows.",
    ]
    return "\n\n".join(lines)


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else "unknown"
